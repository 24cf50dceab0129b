"""Starts a module of ours in a process of its own."""

import sys
from typing import List

# python -m and -c look in the working folder first, which may hold a file named like a library.
_CODE = (
    "import runpy, sys; sys.path[:] = [path for path in sys.path if path]; "
    "runpy.run_module({!r}, run_name='__main__', alter_sys=True)"
)


def module_command(module: str) -> List[str]:
    """Return the words that run a module as ``python -m`` does, blind to the working folder."""
    return [sys.executable, "-c", _CODE.format(module)]

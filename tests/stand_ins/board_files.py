"""A machine's files and tools from a text table, for tests of what reads them.

# a comment
[/sys/class/thermal/thermal_zone0]            the folder of the names that follow
temp = 43000                                  a file; \\n, \\t and \\0 mean such characters
/etc/hostname = tx2                           a file by its whole path
cpu{0,1}/online = 1                           two files
/sys/class/devfreq/x -> /sys/devices/x        a link to a folder
$ nvpmodel -q                                 a tool, and what it writes
| NV Power Mode: MAXN
? 1                                           its exit status where it is not 0
"""

import os
import pathlib
import re
from typing import Dict, List, Sequence

from clipedge.jetson.conditions.tools import Output
from clipedge.jetson.conditions.tree import MissingError

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "boards"


class BoardFiles:
    """The machine of a table, its files below `root`; `run` runs its tools, `calls` are theirs."""

    def __init__(self, root: pathlib.Path, name: str) -> None:
        self.root = root
        self.tools: Dict[str, Output] = {}
        self.calls: List[List[str]] = []
        self._folder = ""
        self._tool = ""
        for line in (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines():
            if line.strip() and not line.startswith("#"):
                self._take(line)

    def write(self, path: str, text: object) -> None:
        """Write a file, or write it anew."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        value = str(text)
        for escape, character in (("\\n", "\n"), ("\\t", "\t"), ("\\0", "\0")):
            value = value.replace(escape, character)
        file.write_bytes(f"{value}\n".encode())

    def remove(self, path: str) -> None:
        """Take a file away."""
        (self.root / path.lstrip("/")).unlink()

    def run(self, arguments: Sequence[str]) -> Output:
        """Run a tool of the table; its name is enough where nothing else matches."""
        self.calls.append(list(arguments))
        for name in (" ".join(arguments), arguments[0]):
            if name in self.tools:
                return self.tools[name]
        raise MissingError(f"{arguments[0]} is not installed")

    def _take(self, line: str) -> None:
        if line.startswith("["):
            self._folder = line.strip("[] ").rstrip("/") + "/"
        elif line.startswith("$ "):
            self._tool = line[2:]
            self.tools[self._tool] = Output(0, "")
        elif line.startswith("| "):
            old = self.tools[self._tool]
            self.tools[self._tool] = old._replace(text=f"{old.text}{line[2:]}\n")
        elif line.startswith("? "):
            self.tools[self._tool] = self.tools[self._tool]._replace(status=int(line[2:]))
        elif " -> " in line:
            self._link(*line.split(" -> "))
        else:
            name, _, value = line.partition(" = ")
            for path in _expand(self._path(name)):
                self.write(path, value)

    def _path(self, name: str) -> str:
        return name if name.startswith("/") else self._folder + name

    def _link(self, name: str, target: str) -> None:
        link, goal = (self.root / self._path(part).lstrip("/") for part in (name, target))
        link.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(str(goal), str(link))


def _expand(path: str) -> List[str]:
    match = re.search(r"\{([^}]*)\}", path)
    if match is None:
        return [path]
    heads = [path[: match.start()] + part for part in match.group(1).split(",")]
    return [rest for head in heads for rest in _expand(head + path[match.end() :])]

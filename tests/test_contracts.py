"""The contracts between the folders that no single folder's tests can see."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BOARD_FOLDERS = ("jetson", "export", "benchmarks")
# What the board does not have; code that runs on both sides imports it inside functions only.
WORKSTATION_ONLY = ("torch", "clipedge.trainside")
BOARD_FILES = sorted(path for folder in BOARD_FOLDERS for path in (ROOT / folder).rglob("*.py"))


def _imports_at_load(tree: ast.Module) -> Iterator[str]:
    """Names that importing the module imports: all imports but those inside functions.

    A block ``if TYPE_CHECKING:`` is for type checkers alone and does not count.
    """
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        pending.extend(ast.iter_child_nodes(node))


@pytest.mark.parametrize("path", BOARD_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_board_code_imports_workstation_packages_inside_functions_only(path: Path) -> None:
    names = _imports_at_load(ast.parse(path.read_text()))
    wrong = [
        name for name in names if any(f"{name}.".startswith(f"{no}.") for no in WORKSTATION_ONLY)
    ]
    assert not wrong


def test_an_import_at_load_is_told_from_one_inside_a_function() -> None:
    code = """
from typing import TYPE_CHECKING
import clipedge.trainside.models
if TYPE_CHECKING:
    import torch
class Late:
    import torch.nn
    def use(self):
        from clipedge.trainside import checkpoint
try:
    from torch import Tensor
except ImportError:
    pass
"""
    assert set(_imports_at_load(ast.parse(code))) == {
        "typing.TYPE_CHECKING",
        "clipedge.trainside.models",
        "torch.nn",
        "torch.Tensor",
    }

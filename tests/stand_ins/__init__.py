"""Stand-ins for TensorRT and pycuda on a machine without a GPU.

    with board("8.2.1") as here:            # a Jetson TX2: tensorrt and pycuda can be imported
        ...
        here.tensorrt.fault = Fault(("conv1",), "nan")

What a class has is the list in ``members.json``, no more. Numbers are ONNX Runtime's. At the end of
the block it is an error where something was left behind or was done that a real GPU leaves
undefined (`Machine.problems`).
"""

import contextlib
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

from stand_ins.limited import Members, member_lists
from stand_ins.machine import NO_GPU, RTX_3060, TITAN_XP, TX2, Gpu, Machine
from stand_ins.pycuda_driver import PycudaStandIn
from stand_ins.trt_module import RELEASES, Fault, TensorrtStandIn

__all__ = [
    "GPU_OF",
    "NO_GPU",
    "RELEASES",
    "RTX_3060",
    "TITAN_XP",
    "TX2",
    "Board",
    "Fault",
    "Gpu",
    "Machine",
    "PycudaStandIn",
    "TensorrtStandIn",
    "board",
    "member_lists",
]

# A GPU that each release serves.
GPU_OF = {
    "8.0.1": TX2,
    "8.2.1": TX2,
    "8.6.1": TITAN_XP,
    "10.16": RTX_3060,
    "11.1": RTX_3060,
    "rtx": RTX_3060,
}
LIBCUDA_MISSING = "libcuda.so.1: cannot open shared object file: No such file or directory"
# Everything the stand-ins may hide or give; what is not given cannot be imported.
PACKAGES = ("tensorrt", "tensorrt_rtx", "pycuda")


class Board:
    """What `board` yields: the machine and the stand-ins on it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.tensorrt: Any = None
        self.pycuda: Any = None


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the stand-ins' modules as if they were installed."""

    def __init__(self) -> None:
        self.modules: Dict[str, Callable[[], types.ModuleType]] = {}

    def find_spec(self, name: str, path: Optional[Sequence[Any]], target: Any = None) -> Any:
        if name in self.modules:
            return importlib.machinery.ModuleSpec(name, self, is_package=name == "pycuda")
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        return self.modules[spec.name]()

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def _raise_libcuda_missing() -> types.ModuleType:
    raise ImportError(LIBCUDA_MISSING)


@contextlib.contextmanager
def board(
    release: Optional[str] = "8.2.1",
    gpu: Gpu = TX2,
    pycuda: bool = True,
    libcuda: bool = True,
    members: Optional[Dict[str, Members]] = None,
    check: bool = True,
) -> Iterator[Board]:
    """Make ``tensorrt`` (or ``tensorrt_rtx``) and ``pycuda`` importable for a block.

    Args:
        release: a key of RELEASES, or None for a machine without TensorRT.
        gpu: what the machine has; NO_GPU for none.
        pycuda: whether pycuda is installed.
        libcuda: whether the driver's library is there, without which pycuda does not load.
        members: lists to use instead of the committed ones.
        check: whether leaks and problems are an error at the end of the block.
    """
    lists = members or member_lists()
    here = Board(Machine(gpu))
    finder = _Finder()
    if release is not None:
        here.tensorrt = TensorrtStandIn(release, here.machine, lists[release])
        finder.modules[RELEASES[release].package] = lambda: here.tensorrt.module
    if pycuda:
        here.pycuda = PycudaStandIn(here.machine, lists["pycuda"])
        finder.modules["pycuda"] = lambda: here.pycuda.package
        module = here.pycuda.module
        finder.modules["pycuda.driver"] = (lambda: module) if libcuda else _raise_libcuda_missing
    before = _take_out()
    sys.meta_path.insert(0, finder)
    # None hides a package that is really installed, from imports and from find_spec.
    sys.modules.update({name: None for name in PACKAGES if name not in finder.modules})  # type: ignore[misc]
    try:
        yield here
    finally:
        sys.meta_path.remove(finder)
        _take_out()
        sys.modules.update(before)
    if check:
        gc.collect()
        here.machine.check()


def _take_out() -> Dict[str, types.ModuleType]:
    """Take the packages out of what is imported already; return them."""
    names: List[str] = [name for name in sys.modules if name.split(".")[0] in PACKAGES]
    return {name: sys.modules.pop(name) for name in names}

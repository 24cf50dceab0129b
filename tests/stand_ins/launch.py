"""Run a command of ours in a process of its own, on a board of stand-ins.

    python tests/stand_ins/launch.py 8.2.1 --build-seconds 30 -- export-engine --onnx FILE

A test kills it to see what is left behind. ``bench-worker`` is the process in which jetson-bench
measures; its release ``none`` is a machine without TensorRT and pycuda.
"""

import argparse
import importlib
import importlib.util
import pathlib
import sys
import time
from typing import List

COMMANDS = {
    "export-engine": "clipedge.export.cli",
    "jetson-bench": "clipedge.benchmarks.cli",
    "gesture-demo": "clipedge.jetson.cli",
    "bench-worker": "clipedge.benchmarks.speed.worker",
}
WITHOUT_ARGUMENTS = ("bench-worker",)
NO_RELEASE = "none"


def main(arguments: List[str]) -> int:
    """Parse this script's own arguments, then run the command after ``--``."""
    split = arguments.index("--")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release")
    parser.add_argument("--gpu", default="TX2", help="a Gpu of stand_ins by name")
    parser.add_argument("--card", action="store_true", help="the GPU has memory of its own")
    parser.add_argument("--build-seconds", type=float, default=0.0, help="of each layer")
    options = parser.parse_args(arguments[:split])
    command, rest = arguments[split + 1], arguments[split + 2 :]
    stand_ins = load_stand_ins()
    gpu = getattr(stand_ins, options.gpu)
    if options.card:
        gpu = gpu._replace(integrated=False)
    none = options.release == NO_RELEASE
    with stand_ins.board(None if none else options.release, gpu, pycuda=not none) as here:
        if not none:
            here.tensorrt.on_build = lambda step: time.sleep(options.build_seconds)
        module = importlib.import_module(COMMANDS[command])
        status: int = module.main(*([] if command in WITHOUT_ARGUMENTS else [rest]))
    return status


def load_stand_ins():  # type: ignore[no-untyped-def]
    """The package beside this file; no folder has to be on the path for it."""
    folder = pathlib.Path(__file__).resolve().parent
    if "stand_ins" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            "stand_ins", str(folder / "__init__.py"), submodule_search_locations=[str(folder)]
        )
        module = importlib.util.module_from_spec(spec)
        sys.modules["stand_ins"] = module
        spec.loader.exec_module(module)
    return sys.modules["stand_ins"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The only module that knows TensorRT's versions, from 8.0 to 11 and TensorRT for RTX.

Three eras, by what the Python API offers:

===========  ==========================  ========================================================
era          releases                    what is particular
===========  ==========================  ========================================================
BINDINGS     8.0 - 8.4 (TX2: 8.0, 8.2)   tensors by index, workspace as one number, FP16 flag
NAMED        8.5 - 10.x                  tensors by name, memory pools, FP16 flag
TYPED        11 and later, RTX           strongly typed: the precision is the ONNX file's
===========  ==========================  ========================================================

``load()`` finds an installation; ``TensorRT.build`` turns an ONNX file into an engine ("plan") and
``TensorRT.open_engine`` loads one. Whatever the era, an engine has one optimization profile for
each batch size, takes one tensor of clips and gives one of logits.
"""

import importlib
import importlib.util
from typing import List, Optional, Sequence, Tuple

from clipedge.jetson.command_line import nearest
from clipedge.jetson.errors import BackendError, UsageError
from clipedge.jetson.trt_api.building import (
    BOARD_WORKSPACE_BYTES,
    BuildRequest,
    BuiltEngine,
    NetworkLayer,
    Progress,
    belongs_to,
    build,
    check_targets,
    network_layers,
)
from clipedge.jetson.trt_api.engine import Engine, Execution, TensorInfo, open_engine
from clipedge.jetson.trt_api.release import TENSORRT, TENSORRT_RTX, Era, Release

PACKAGES = (TENSORRT, TENSORRT_RTX)

__all__ = [
    "BOARD_WORKSPACE_BYTES",
    "PACKAGES",
    "TENSORRT",
    "TENSORRT_RTX",
    "BuildRequest",
    "BuiltEngine",
    "Engine",
    "Era",
    "Execution",
    "NetworkLayer",
    "Progress",
    "TensorInfo",
    "TensorRT",
    "belongs_to",
    "installed_packages",
    "load",
]


class TensorRT(Release):
    """One installed TensorRT, ready to build and to open engines."""

    def build(self, request: BuildRequest, progress: Optional[Progress] = None) -> BuiltEngine:
        """Compile an ONNX file. Takes seconds on a workstation and minutes on a TX2.

        Args:
            request: what to build.
            progress: called with a phase, its steps done and in all, from 10.0 on; where it
                returns False, the build ends with BackendError.

        Raises:
            ModelFileError: TensorRT's parser refuses the file; every reason is in the message.
            UsageError: this TensorRT does not build for the targets.
            BackendError: the compiler failed.
        """
        return build(self, request, progress)

    def check_targets(self, targets: Sequence[Tuple[int, int]]) -> None:
        """Raise UsageError where engines cannot be built for these compute capabilities here."""
        check_targets(self, targets)

    def network_layers(self, onnx: bytes) -> List[NetworkLayer]:
        """List the layers of an ONNX file as the parser makes them, without building.

        Raises:
            ModelFileError: TensorRT's parser refuses the file.
        """
        return network_layers(self, onnx)

    def open_engine(self, plan: bytes) -> Engine:
        """Load a serialized engine onto the GPU of the current CUDA context.

        Raises:
            BackendError: it is damaged, or belongs to another TensorRT or GPU.
        """
        return open_engine(self, plan)


def installed_packages() -> List[str]:
    """Return which of PACKAGES can be imported; none is imported."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is not None]


def load(package: str = TENSORRT) -> TensorRT:
    """Import a TensorRT.

    Raises:
        UsageError: ``package`` is none of PACKAGES.
        BackendError: it is not installed, or does not load.
    """
    if package not in PACKAGES:
        raise UsageError(f"There is no TensorRT package '{package}'; {nearest(package, PACKAGES)}")
    if package not in installed_packages():
        raise BackendError(_how_to_install(package))
    try:
        module = importlib.import_module(package)
    except (ImportError, OSError) as error:
        raise BackendError(
            f"{package} is installed but does not load: {error}. Its libraries must be of the same "
            "release; on a Jetson both come with JetPack."
        ) from None
    return TensorRT(module, package)


def _how_to_install(package: str) -> str:
    if package == TENSORRT_RTX:
        return (
            "TensorRT for RTX is not installed here. With Python 3.10 or newer: "
            "pip install tensorrt-rtx-cu12"
        )
    return (
        "TensorRT is not installed for this Python. On a Jetson it comes with JetPack and serves "
        "the system's python3 alone (a virtual environment needs --system-site-packages); on a "
        "workstation: pip install tensorrt"
    )

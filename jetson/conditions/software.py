"""The board's name and the versions of NVIDIA's software, from files; CUDA is not started."""

import json
import re
import sys
from typing import Any, Dict, List, Mapping, Optional

from clipedge.jetson.board import parse_l4t
from clipedge.jetson.conditions.tree import MissingError, Report, Tree

MODEL = "/proc/device-tree/model"
DEVICE_TREE_FILE = "/proc/device-tree/nvidia,dtsfilename"
COMPATIBLE = "/proc/device-tree/compatible"
L4T_RELEASE = "/etc/nv_tegra_release"
PACKAGES = "/var/lib/dpkg/status"
CUDA_JSON = "/usr/local/cuda/version.json"  # from CUDA 11.1 on
CUDA_TEXT = "/usr/local/cuda/version.txt"  # before

# Source: NVIDIA's JetPack archive (developer.nvidia.com/embedded/jetpack-archive); the releases
# that have a TensorRT this project runs on, 8.0 and later.
JETPACK_OF_L4T = {
    "32.6.1": "4.6",
    "32.7.1": "4.6.1",
    "32.7.2": "4.6.2",
    "32.7.3": "4.6.3",
    "32.7.4": "4.6.4",
    "32.7.5": "4.6.5",
    "32.7.6": "4.6.6",
    "34.1": "5.0",
    "34.1.1": "5.0.1",
    "35.1": "5.0.2",
    "35.2.1": "5.1",
    "35.3.1": "5.1.1",
    "35.4.1": "5.1.2",
    "35.5": "5.1.3",
    "35.6": "5.1.4",
    "35.6.1": "5.1.5",
    "36.2": "6.0 DP",
    "36.3": "6.0",
    "36.4": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "38.2": "7.0",
}
# A device tree names the module by its number. Source: the Jetson Linux Developer Guide, "Jetson
# modules and configurations"; the longer number first.
_MODULES = (
    ("p2180", "Jetson TX1"),
    ("p3489-0888", "Jetson TX2 4GB"),
    ("p3489", "Jetson TX2i"),
    ("p3310", "Jetson TX2"),
    ("p3636", "Jetson TX2 NX"),
    ("p3448-0003", "Jetson Nano 2GB"),
    ("p3448", "Jetson Nano"),
    ("p2888", "Jetson AGX Xavier"),
    ("p3668", "Jetson Xavier NX"),
    ("p3701", "Jetson AGX Orin"),
    ("p3767-0000", "Jetson Orin NX 16GB"),
    ("p3767-0001", "Jetson Orin NX 8GB"),
    ("p3767-0003", "Jetson Orin Nano 8GB"),
    ("p3767-0004", "Jetson Orin Nano 4GB"),
    ("p3767-0005", "Jetson Orin Nano 8GB"),  # of the developer kit
    ("p3834", "Jetson AGX Thor"),
)
_NO_JETSON = "this machine is no Jetson"


def is_jetson(tree: Tree) -> bool:
    """Tell whether this is a Jetson, also from inside a container."""
    return "tegra" in tree.optional_text(COMPATIBLE) or bool(tree.optional_text(L4T_RELEASE))


def board_facts(tree: Tree, report: Report) -> Dict[str, Optional[str]]:
    """Return ``name``, ``module``, ``l4t`` and ``jetpack`` of a Jetson; None elsewhere."""
    return {
        "name": report.take("board.name", lambda: _board_name(tree)),
        "module": report.take("board.module", lambda: _module(tree)),
        "l4t": report.take("board.l4t", lambda: l4t_release(tree)),
        "jetpack": report.take("board.jetpack", lambda: _jetpack(tree)),
    }


def software_facts(
    tree: Tree, report: Report, loaded: Optional[Mapping[str, Any]] = None
) -> Dict[str, Optional[str]]:
    """Return the versions of ``cuda``, ``cudnn`` and ``tensorrt``.

    Args:
        tree: of the machine.
        report: takes the reasons of what is missing.
        loaded: imported modules by name; those of this process by default. A TensorRT among them
            is the one that runs, whatever else is installed.
    """
    modules = sys.modules if loaded is None else loaded
    return {
        "cuda": report.take("software.cuda", lambda: _cuda(tree)),
        "cudnn": report.take("software.cudnn", lambda: _cudnn(tree)),
        "tensorrt": report.take("software.tensorrt", lambda: _tensorrt(tree, modules)),
    }


def l4t_release(tree: Tree) -> str:
    """Return the release of Linux for Tegra, such as ``32.7.1``."""
    release = parse_l4t(tree.optional_text(L4T_RELEASE))
    if release:
        return release
    package = installed_versions(tree, r"nvidia-l4t-core").get("nvidia-l4t-core")
    if package:
        return package
    raise MissingError(_NO_JETSON if not is_jetson(tree) else f"there is no {L4T_RELEASE}")


def installed_versions(tree: Tree, names: str) -> Dict[str, str]:
    """Return the installed Debian packages whose names match a pattern, and their versions.

    A version comes without its epoch and what Debian and NVIDIA hang on it: ``8.2.1.8`` of
    ``8.2.1.8-1+cuda10.2``.
    """
    versions = {}
    text = tree.optional_text(PACKAGES) + "\n"
    for match in re.finditer(rf"^Package: ({names})\n(?:.+\n)*", text, re.MULTILINE):
        version = re.search(r"^Version: (?:\d+:)?([^-+\s]+)", match.group(0), re.MULTILINE)
        if version and re.search(r"^Status: .* installed$", match.group(0), re.MULTILINE):
            versions[match.group(1)] = version.group(1)
    return versions


def _board_name(tree: Tree) -> str:
    name = tree.optional_text(MODEL)
    if name:
        return name
    raise MissingError(f"there is no {MODEL}" if is_jetson(tree) else _NO_JETSON)


def _module(tree: Tree) -> str:
    numbers = f"{tree.optional_text(DEVICE_TREE_FILE)} {tree.optional_text(COMPATIBLE)}"
    for number, name in _MODULES:
        if number in numbers:
            return name
    raise MissingError("the device tree names no known module" if is_jetson(tree) else _NO_JETSON)


def _jetpack(tree: Tree) -> str:
    l4t = l4t_release(tree)
    known = JETPACK_OF_L4T.get(l4t) or JETPACK_OF_L4T.get(re.sub(r"\.0$", "", l4t))
    known = known or installed_versions(tree, "nvidia-jetpack").get("nvidia-jetpack")
    if known is None:
        raise MissingError(f"no JetPack is known for L4T {l4t}")
    return known


def _cuda(tree: Tree) -> str:
    try:
        return str(json.loads(tree.text(CUDA_JSON))["cuda"]["version"])
    except (MissingError, ValueError, KeyError, TypeError):
        pass
    match = re.search(r"CUDA Version ([\d.]+)", tree.optional_text(CUDA_TEXT))
    if match:
        return match.group(1)
    found = installed_versions(tree, r"cuda-cudart-\d+-\d+")
    return _only(found, "CUDA", f"neither {CUDA_JSON} nor a package cuda-cudart")


def _cudnn(tree: Tree) -> str:
    found = installed_versions(tree, r"libcudnn\d+(?:-cuda-\d+)?")
    return _only(found, "cuDNN", "no package libcudnn")


def _tensorrt(tree: Tree, loaded: Mapping[str, Any]) -> str:
    for name in ("tensorrt", "tensorrt_rtx"):
        version = getattr(loaded.get(name), "__version__", None)
        if version:
            return str(version)
    found = installed_versions(tree, r"tensorrt|libnvinfer\d+")
    if "tensorrt" in found:  # that of libnvinfer is shorter: 8.2.1 of 8.2.1.8
        return found["tensorrt"]
    return _only(found, "TensorRT", "no package tensorrt, and none is loaded")


def _only(found: Dict[str, str], what: str, nothing: str) -> str:
    versions: List[str] = sorted(set(found.values()))
    if len(versions) == 1:
        return versions[0]
    if versions:
        raise MissingError(f"several of {what} are installed: {', '.join(versions)}")
    raise MissingError(f"{what} is not installed by Debian packages: {nothing}")

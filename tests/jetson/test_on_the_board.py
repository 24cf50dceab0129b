"""The wheel as the board has it: every module loads without torch, and the commands start."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

BOARD_PACKAGES = ("clipedge.jetson", "clipedge.export", "clipedge.benchmarks")
BOARD_COMMANDS = ("export-engine", "jetson-bench", "gesture-demo", "gesture-record")
OF_THE_BOARD = sys.version_info[:2] == (3, 6)


def _modules():
    for name in BOARD_PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, name + "."):
            yield module.name


@pytest.mark.skipif(not OF_THE_BOARD, reason="the workstation runs from the checkout")
def test_the_code_under_test_is_the_installed_wheel():
    (folder,) = importlib.import_module("clipedge.jetson").__path__
    assert Path(folder).parent.parent.name == "site-packages"


# The board has no torch; a workstation's is hidden. A module that serves one of these packages may
# want it at load, and then it cannot load where the package is missing.
LOAD_ALL = """
import importlib, sys
sys.modules["torch"] = None
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError as error:
        if error.name not in ("openvino", "onnxruntime", "tensorrt", "pycuda"):
            raise
"""


def test_every_module_loads_without_torch():
    command = [sys.executable, "-c", LOAD_ALL, *_modules()]
    loaded = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert loaded.returncode == 0, loaded.stdout.decode()


@pytest.mark.parametrize("command", BOARD_COMMANDS)
def test_the_installed_command_shows_its_help(command):
    script = Path(sys.executable).parent / command
    shown = subprocess.run(
        [str(script), "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
    )
    assert shown.returncode == 0, shown.stdout.decode()
    assert command in shown.stdout.decode()


@pytest.mark.skipif(not OF_THE_BOARD, reason="the workstation has a Python that is new enough")
def test_the_training_command_says_that_python_is_too_old():
    script = Path(sys.executable).parent / "train-clips"
    shown = subprocess.run(
        [str(script), "summary"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60
    )
    assert shown.returncode == 2
    assert shown.stdout.decode().startswith("train-clips: needs Python 3.10 or newer")

"""export-engine on boards of stand-ins; runs on Python 3.6 too."""

import collections
import contextlib
import json
import logging
import pathlib
import runpy
import signal
import sys

import numpy as np
import pytest
from stand_ins import RTX_3060, TITAN_XP, TX2, board

from clipedge.export import cli, engine_builder
from clipedge.export.parity import onnxruntime_infer
from clipedge.jetson import files
from clipedge.jetson.runners.precision_gate import ORDER_KEY

_TESTS = pathlib.Path(__file__).resolve().parent.parent
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# A GPU that each release of TensorRT serves. On the board's Python, the board's releases.
GPU_OF = {"8.0.1": TX2, "8.2.1": TX2, "8.6.1": TITAN_XP, "10.16": RTX_3060, "11.1": RTX_3060}
RELEASES = [name for name in GPU_OF if sys.version_info >= (3, 7) or GPU_OF[name] is TX2]

Done = collections.namedtuple("Done", "status out err")


@pytest.fixture(scope="session")
def model_writer():
    """`write_model(path, spec, ...)` of the runners' tests."""
    return runpy.run_path(str(_TESTS / "jetson" / "conftest.py"))["write_model"]


@pytest.fixture(scope="session")
def _tiny_bytes(model_writer, tmp_path_factory):
    """The model sub, conv, relu, globalaveragepool, flatten, gemm for clips of 4 x 16 x 16."""
    return model_writer(tmp_path_factory.mktemp("models") / "tiny.onnx").read_bytes()


@pytest.fixture
def tiny(_tiny_bytes, tmp_path):
    """`tiny.onnx` in a folder of its own, for engines to lie beside."""
    path = tmp_path / "models" / "tiny.onnx"
    path.parent.mkdir()
    path.write_bytes(_tiny_bytes)
    return path


@pytest.fixture
def ranked(tiny):
    """`ranked(*names)`: tiny.onnx with these layers to put back to fp32, in this order."""
    onnx = pytest.importorskip("onnx", reason="onnx, which changes the test model, is missing")

    def write(*names):
        model = onnx.load_from_string(tiny.read_bytes())
        entry = model.metadata_props.add()
        entry.key = ORDER_KEY
        entry.value = json.dumps({"order": [{"layers": [name]} for name in names]})
        tiny.write_bytes(model.SerializeToString())
        return tiny

    return write


@pytest.fixture
def tx2():
    """A Jetson TX2 with JetPack 4.6.1."""
    with board("8.2.1", gpu=TX2) as here:
        yield here


@pytest.fixture(params=RELEASES)
def here(request):
    """A machine with each release of TensorRT in turn."""
    with board(request.param, gpu=GPU_OF[request.param]) as machine:
        yield machine


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    """Time each graph form with one inference, and do not wait for the disk after each file."""
    monkeypatch.setattr(engine_builder, "TRIAL_S", 0.0)
    monkeypatch.setattr(files, "_flush_to_disk", lambda path: None)


@pytest.fixture
def export_engine(capsys):
    """`export_engine("--onnx", path, ...)` -> Done(status, out, err), in this process."""
    ours = logging.getLogger("clipedge")
    before = ours.handlers, ours.level
    handlers = [signal.getsignal(number) for number in _SIGNALS]

    def run(*arguments):
        capsys.readouterr()
        status = cli.main([str(argument) for argument in arguments])
        return Done(status, *capsys.readouterr())

    yield run
    ours.handlers, ours.level = before
    for number, handler in zip(_SIGNALS, handlers):
        signal.signal(number, handler)


@pytest.fixture
def without(monkeypatch):
    """`without("onnx")`: a package that is not installed, from here on."""

    def hide(*packages):
        for package in packages:
            for name in [name for name in sys.modules if name.split(".")[0] == package]:
                monkeypatch.delitem(sys.modules, name)
            monkeypatch.setitem(sys.modules, package, None)

    return hide


@pytest.fixture(scope="session")
def clips():
    """(8, 3, 4, 16, 16) float32, RGB, 0-255."""
    return np.random.RandomState(5).randint(0, 256, (8, 3, 4, 16, 16)).astype(np.float32)


@pytest.fixture
def logits_of_onnx(clips):
    """`logits_of_onnx(path)`: of `clips`, from ONNX Runtime on the CPU."""
    return lambda path: onnxruntime_infer(path.read_bytes())(clips)


@pytest.fixture
def files_in():
    """`files_in(folder)` -> {name: content} of all that lies in it, hidden files too."""

    def read(folder):
        return {
            str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
            for path in folder.rglob("*")
        }

    return read


@pytest.fixture
def another_board():
    """`with another_board("8.0.1", TX2)`: the same folder, seen from another machine."""

    @contextlib.contextmanager
    def opened(release, gpu=None, **options):
        with board(release, gpu=gpu or GPU_OF[release], **options) as machine:
            yield machine

    return opened

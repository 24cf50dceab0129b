"""Small ONNX models to benchmark, made as the runners' tests make them; Python 3.6 too."""

import pathlib
import runpy
import sys

import pytest

_TESTS = pathlib.Path(__file__).resolve().parent.parent
_RUNNER_TESTS = _TESTS / "jetson" / "conftest.py"
_LAUNCH = _TESTS / "stand_ins" / "launch.py"
_ODD_WORKER = _TESTS / "stand_ins" / "odd_worker.py"


@pytest.fixture(scope="session")
def model_writer():
    """`write_model(path, spec, ...)` of the runners' tests."""
    return runpy.run_path(str(_RUNNER_TESTS))["write_model"]


@pytest.fixture(scope="session")
def tiny_model(model_writer, tmp_path_factory):
    """An ONNX file with clips of 4 x 16 x 16."""
    return model_writer(tmp_path_factory.mktemp("models") / "tiny_random.onnx")


@pytest.fixture(scope="session")
def engine_writer():
    """`write_engine(path, onnx_path, batches, ...)` of the runners' tests."""
    return runpy.run_path(str(_RUNNER_TESTS))["write_engine"]


@pytest.fixture
def workers_on(monkeypatch):
    """`workers_on(release, *options)`: jetson-bench measures on that board of stand-ins.

    The options are those of stand_ins/launch.py.
    """
    from clipedge.benchmarks.speed import contender

    def use(release, *options):
        call = [sys.executable, str(_LAUNCH), release, *options, "--", "bench-worker"]
        monkeypatch.setattr(contender, "WORKER", call)

    return use


@pytest.fixture
def odd_workers(monkeypatch):
    """`odd_workers(trick, ...)`: jetson-bench measures with tricks of stand_ins/odd_worker.py."""
    from clipedge.benchmarks.speed import contender

    def use(*tricks):
        monkeypatch.setattr(contender, "WORKER", [sys.executable, str(_ODD_WORKER), *tricks])

    return use

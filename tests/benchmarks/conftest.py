"""Small ONNX models to benchmark, made as the runners' tests make them; Python 3.6 too."""

import pathlib
import runpy

import pytest

_RUNNER_TESTS = pathlib.Path(__file__).resolve().parent.parent / "jetson" / "conftest.py"


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

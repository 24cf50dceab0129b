"""export-engine on a real GPU: pytest -m gpu. Where there is none, it says what is missing."""

import json

import numpy as np
import pytest

from clipedge.jetson import trt_api
from clipedge.jetson.cuda import gpu_facts
from clipedge.jetson.errors import BackendError
from clipedge.jetson.runners import open_runner

# Of the largest logit: between a GPU and ONNX Runtime on a CPU.
TOLERANCE = {"fp32": 1e-3, "fp16": 2e-2}


@pytest.mark.gpu
def test_engines_are_built_checked_timed_and_found_again(
    tiny, export_engine, clips, logits_of_onnx
):
    try:
        gpu_facts()
    except BackendError as error:
        pytest.skip(str(error))
    if not trt_api.installed_packages():
        pytest.skip("no TensorRT is installed for this Python")
    command = ("--onnx", tiny, "--precision", "fp32", "fp16", "--batch", "1", "8", "--json")
    done = export_engine(*command, "--profile")
    assert done.status == 0, done.err
    expected = logits_of_onnx(tiny)
    for engine in json.loads(done.out)["engines"]:
        assert "this engine" in engine["check_text"]
        assert [row for row in engine["profile"]["layers"] if row["time_ms"] > 0]
        assert all(one["latency_ms"] for one in engine["candidates"] if "error" not in one)
        with open_runner(engine["file"]) as runner:
            for batch in (1, 8):
                error = np.abs(runner.infer(clips[:batch]) - expected[:batch]).max()
                assert error <= TOLERANCE[engine["precision"]] * np.abs(expected).max()
    again = json.loads(export_engine(*command).out)["engines"]
    assert [engine["cached"] for engine in again] == [True, True]

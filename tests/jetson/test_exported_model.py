"""A model exported on the workstation, read by the runners installed here.

``make board-test`` exports one with the workstation's torch and names it in CLIPEDGE_TEST_ONNX, so
that a file of today's exporter is read by the ONNX Runtime of the board's Python 3.6.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clipedge.jetson.runners import open_runner

MODEL = os.environ.get("CLIPEDGE_TEST_ONNX", "")

pytestmark = pytest.mark.skipif(
    not MODEL, reason="CLIPEDGE_TEST_ONNX names no exported model (make board-test exports one)"
)


def _clips(batch, spec):
    """Random clips: (batch, 3, frames, size, size) float32, RGB, 0-255."""
    shape = (batch, *spec.clip_shape)
    return np.random.RandomState(7).uniform(0.0, 255.0, shape).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 8])
def test_an_exported_model_runs_at_batch_1_and_8(batch):
    with open_runner(MODEL, backend="onnxruntime") as runner:
        logits = runner.infer(_clips(batch, runner.spec))
        assert logits.shape == (batch, runner.spec.num_classes)
        assert logits.dtype == np.float32
        assert np.isfinite(logits).all()
        assert len(np.unique(logits)) > 1


def test_a_clip_scores_the_same_alone_and_within_a_batch():
    with open_runner(MODEL, backend="onnxruntime") as runner:
        clips = _clips(8, runner.spec)
        together = np.array(runner.infer(clips))
        alone = np.array(runner.infer(clips[5:6]))
    np.testing.assert_allclose(alone[0], together[5], rtol=1e-4, atol=1e-4)


def test_an_exported_model_is_benchmarked_here(tmp_path):
    report = tmp_path / "report.json"
    command = [str(Path(sys.executable).parent / "jetson-bench"), MODEL, "--batch", "1"]
    command += [
        "--backend",
        "onnxruntime",
        "--duration",
        "1",
        "--warmup",
        "0.2",
        "--json",
        str(report),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert "clips" in done.stdout.decode()
    assert json.loads(report.read_text())["schema"].startswith("clipedge.bench/")

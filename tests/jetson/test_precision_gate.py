"""What a file in fewer bits must be like to be opened; runs on Python 3.6 too."""

import contextlib
import importlib.util
import json
import logging
import pathlib

import numpy as np
import pytest

from clipedge.jetson.errors import BackendError, ClipedgeError
from clipedge.jetson.logits import check_clips
from clipedge.jetson.runners import base, open_runner
from clipedge.jetson.runners.precision_gate import (
    CLIPS,
    LARGEST_RANDOM_ERROR,
    ORDER_KEY,
    RELATIVE_ERROR,
    SEED,
    limits_for,
    open_compared,
)
from clipedge.jetson.spec import METADATA_KEY


class Answering(base.Runner):
    """Answers from the mean colour of a clip, as a model would, and then as it is told to."""

    backend = "stand-in"
    running = []  # noqa: RUF012  of all of them

    def __init__(self, spec, change, batch_sizes=None):
        super().__init__(spec, batch_sizes)
        self._change = change
        self.batches = []
        Answering.running.append(self)
        assert len(Answering.running) == 1, "two are open at once"

    def _infer(self, clips):
        self.batches.append(len(clips))
        assert (clips == clips[:1]).all()
        parts = clips.mean(axis=(2, 3, 4)) / 25
        red, green, blue = parts.T
        logits = np.stack([red, green, -blue, red - 5, 0 * red], axis=1)
        return self._change(logits.astype(np.float32))

    def describe(self):
        return {}

    def close(self):
        super().close()
        Answering.running.remove(self)


@pytest.fixture
def opened(tiny_model, tiny_spec):
    """`opened(change)`: the tiny model in bf16, whose logits `change` makes of those in fp32."""

    @contextlib.contextmanager
    def open_with(change, exact=lambda logits: logits, batch_sizes=None):
        changes = {"fp32": exact, "bf16": change}

        def opener(precision):
            return Answering(tiny_spec, changes[precision], batch_sizes)

        with open_compared(opener, tiny_model, "bf16") as runner:
            yield runner

    yield open_with
    assert Answering.running == []


@pytest.fixture
def off_by(tiny_spec):
    """`off_by(share)`: the first logit is off by this share of the largest of all check clips."""
    means = check_clips(tiny_spec, CLIPS, SEED).mean(axis=(2, 3, 4)) / 25
    largest = float(np.abs(means).max())

    def change_by(share):
        def change(logits):
            changed = logits.copy()
            changed[:, 0] += np.float32(share * largest)
            return changed

        return change

    return change_by


def test_what_is_near_fp32_opens_and_says_how_near(opened, off_by):
    with opened(off_by(0.01)) as runner:
        found = runner.parity
    assert found["relative_error"] == pytest.approx(0.01, rel=0.1)
    assert (found["passed"], found["clips"], found["conclusive"]) == (True, 3, True)
    assert found["reference"] == "stand-in fp32"
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.parametrize(
    "breakage",
    [
        lambda logits: logits[:, ::-1],
        lambda logits: -logits,
        lambda logits: 1.3 * logits,
        lambda logits: 0 * logits,
        lambda logits: np.float32(np.nan) * logits,
        lambda logits: np.where(logits == logits.max(), np.float32(np.inf), logits),
    ],
)
def test_what_is_broken_is_refused_and_closed(opened, breakage):
    with pytest.raises(BackendError, match=r"tiny.onnx in bf16 .*: .*Use --precision fp32"), opened(
        breakage
    ):
        pass


def test_the_limit_is_that_of_eight_bits(opened, off_by):
    limit = 8 * RELATIVE_ERROR
    with opened(off_by(0.9 * limit)) as runner:
        assert runner.parity["limit_relative"] == limit
    with pytest.raises(BackendError, match=r"error 1.8e-01 .* allowed is 1.6e-01"), opened(
        off_by(1.1 * limit)
    ):
        pass


def test_random_weights_are_allowed_what_fewer_bits_do_to_them(tiny_spec):
    def limit(simulated, precision, dataset="random"):
        spec = tiny_spec._replace(dataset=dataset)
        order = json.dumps({"simulated_relative_error": simulated, "order": []})
        metadata = {METADATA_KEY: spec.to_json(), ORDER_KEY: order}
        return limits_for(metadata, precision).relative_error

    assert limit(0.0188, "bf16") == pytest.approx(3 * 8 * 0.0188)
    assert limit(0.0188, "fp16") == pytest.approx(3 * 0.0188)
    assert limit(0.1, "bf16") == LARGEST_RANDOM_ERROR
    assert limit(0.1, "bf16", dataset="jester") == 8 * RELATIVE_ERROR
    assert limit(1e-4, "bf16") == 8 * RELATIVE_ERROR


def test_a_file_of_a_fixed_batch_is_compared_in_that_batch(opened, off_by):
    with opened(off_by(0.01), batch_sizes=(2,)) as runner:
        assert runner.batches == [2, 2, 2]
    with opened(off_by(0.01)) as runner:
        assert runner.batches == [1, 1, 1]


def test_a_model_that_answers_every_clip_alike_is_warned_of(opened, caplog):
    def alike(logits):
        return np.ones_like(logits)

    with caplog.at_level(logging.WARNING), opened(alike, exact=alike) as runner:
        assert not runner.parity["conclusive"]
    assert "proves little" in caplog.text


def test_fp32_that_is_no_number_proves_nothing(opened):
    with pytest.raises(ClipedgeError, match="fp32 logits hold NaN"), opened(
        lambda logits: logits, exact=lambda logits: np.nan * logits
    ):
        pass


class TestWithOpenvino:
    @pytest.fixture(autouse=True)
    def _bf16(self):
        if importlib.util.find_spec("openvino") is None:
            pytest.skip("openvino is not installed")
        from clipedge.jetson.runners.openvino_runner import native_precisions

        if "bf16" not in native_precisions():
            pytest.skip("this CPU does not compute in bf16")

    def test_bf16_opens_compared_and_fp32_is_not_compared(self, tiny_model):
        with open_runner(tiny_model, "openvino", precision="bf16") as runner:
            parity = runner.describe()["parity"]
            assert runner.infer(check_clips(runner.spec, 2, 0)).shape == (2, 5)
        assert 0 < parity["relative_error"] < 2**-6
        assert parity["reference"] == "openvino fp32"
        with open_runner(tiny_model, "openvino") as runner:
            assert "parity" not in runner.describe()

    def test_another_models_answers_are_refused(
        self, tiny_model, model_writer, tmp_path, monkeypatch
    ):
        from clipedge.jetson.runners import openvino_runner

        other = model_writer(tmp_path / "other.onnx", channels=5)
        really = openvino_runner.OpenvinoRunner.__init__

        def mixed_up(self, path, spec, threads, precision="fp32"):
            really(self, other if precision == "bf16" else path, spec, threads, precision)

        monkeypatch.setattr(openvino_runner.OpenvinoRunner, "__init__", mixed_up)
        with pytest.raises(BackendError, match=r"tiny.onnx in bf16 with openvino is too far"):
            open_runner(tiny_model, "openvino", precision="bf16")

    def test_a_precision_this_cpu_lacks_is_refused_not_replaced(self, tiny_model):
        from clipedge.jetson.runners.openvino_runner import native_precisions

        if "fp16" in native_precisions():
            pytest.skip("this CPU computes in fp16 too")
        with pytest.raises(BackendError, match="does not compute in fp16"):
            open_runner(tiny_model, "openvino", precision="fp16")

    def test_the_trained_demo_model_passes(self):
        demo = pathlib.Path(__file__).resolve().parents[2] / "demo"
        path = demo / "shufflenetv1_0.5x_synthetic.onnx"
        if not path.is_file():
            pytest.skip("no demo/: make demo trains its model")
        with open_runner(path, "openvino", precision="bf16") as runner:
            assert runner.parity["top1_agree"] == 3
            assert runner.parity["relative_error"] < 2e-2

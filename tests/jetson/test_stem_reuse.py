"""The stem is not repeated on frames already seen, and the logits are those of the whole model."""

import json
import subprocess
import sys

import numpy as np
import pytest

from clipedge.jetson import stem_reuse
from clipedge.jetson.camera import Frame, Source
from clipedge.jetson.cli import main
from clipedge.jetson.clip_buffer import ClipBuffer
from clipedge.jetson.errors import BackendError, ModelFileError, UsageError
from clipedge.jetson.live import recognise
from clipedge.jetson.recogniser import Recogniser
from clipedge.jetson.runners import open_runner
from clipedge.jetson.stem_reuse import LARGEST_DIFFERENCE, StemReuse, relative_difference

pytest.importorskip("onnx", reason="onnx, which splits the model, is not installed")
pytest.importorskip("cv2", reason="OpenCV is not installed")


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def runner(request, tiny_model):
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    if request.param == "openvino" and sys.version_info < (3, 10):
        pytest.skip("openvino's Runner needs Python 3.10")
    with open_runner(tiny_model, request.param, threads=1) as opened:
        yield opened


class Noise(Source):
    """Frames of noise at these times."""

    def __init__(self, times_s):
        self.times_s = times_s

    @property
    def endless(self):
        return True

    def __iter__(self):
        rng = np.random.RandomState(0)
        for number, time_s in enumerate(self.times_s):
            yield Frame(rng.randint(0, 256, (20, 24, 3)).astype(np.uint8), time_s, number)


class Noted(Recogniser):
    def __init__(self, labels):
        super().__init__(labels)
        self.logits = []

    def update(self, logits, time_s, presence=None):
        self.logits.append(logits.copy())
        return super().update(logits, time_s, presence)


def streamed(times_s, runner, **how):
    recogniser = Noted(runner.spec.labels)
    for _ in recognise(Noise(times_s), runner, recogniser, **how):
        pass
    return recogniser.logits


def camera(rate_hz, seconds=4.0, jitter=0.0):
    rng = np.random.RandomState(int(rate_hz))
    regular_s = np.arange(int(seconds * rate_hz)) / rate_hz
    return (regular_s + rng.uniform(-jitter, jitter, len(regular_s)) / rate_hz).tolist()


def test_logits_are_those_of_the_whole_model_at_any_rate_with_jitter_and_gaps(runner, tiny_model):
    later = [60.0 + time_s for time_s in camera(30)]
    streams = [(camera(25), 0.0), (camera(30, jitter=0.4), 0.0), (camera(30) + later, 1 / 12.0)]
    for times_s, interval_s in streams:
        whole = streamed(times_s, runner, interval_s=interval_s)
        reuse = StemReuse(tiny_model, runner)
        reused = streamed(times_s, runner, interval_s=interval_s, stem_reuse=reuse)
        assert len(whole) == len(reused) > 20
        assert max(map(relative_difference, whole, reused)) < LARGEST_DIFFERENCE


@pytest.mark.parametrize("rate_hz", [12, 30])
def test_a_steady_camera_costs_one_new_neighbourhood_a_clip_and_both_ends(
    runner, tiny_model, rate_hz
):
    reuse = StemReuse(tiny_model, runner)
    clips = len(streamed(camera(rate_hz), runner, stem_reuse=reuse))
    phases = rate_hz // 6  # clips that start at so many frames have no neighbours in common
    frames = runner.spec.frames
    assert reuse.computed == frames * phases + 3 * (clips - phases)
    assert reuse.computed + reuse.reused == frames * clips


def test_what_cannot_come_again_is_let_go_and_its_memory_used_again(runner, tiny_model):
    reuse = StemReuse(tiny_model, runner)
    streamed(camera(30, seconds=3), runner, stem_reuse=reuse)
    held = len(reuse._kept) + len(reuse._unused)
    buffer_frames = int(30 * runner.spec.span_s) + 2
    assert 0 < len(reuse._kept) <= buffer_frames
    buffer, rng = ClipBuffer(runner.spec), np.random.RandomState(1)
    for number in range(200):
        frame = rng.randint(0, 256, (3, *runner.spec.clip_shape[2:])).astype(np.uint8)
        buffer.push(frame, number / 30.0)
        if buffer.ready:
            frames, numbers = buffer.chosen()
            reuse.logits(frames, [1000 + one for one in numbers])
    assert len(reuse._kept) + len(reuse._unused) <= held + 2


def test_what_is_kept_has_a_limit_and_the_logits_stay_right(tiny_model, monkeypatch):
    slice_bytes = 4 * 8 * 8 * 8  # of the tiny model's stem
    monkeypatch.setattr(stem_reuse, "MOST_KEPT_MIB", 5 * slice_bytes / 2.0**20)
    with open_runner(tiny_model, "onnxruntime", threads=1) as runner:
        reuse = StemReuse(tiny_model, runner)
        whole = streamed(camera(30), runner)
        reused = streamed(camera(30), runner, stem_reuse=reuse)
        assert len(reuse._kept) + len(reuse._unused) == 5
        assert max(map(relative_difference, whole, reused)) < LARGEST_DIFFERENCE


def test_a_clip_that_holds_a_frame_twice_is_right_too(runner, tiny_model):
    frame = np.random.RandomState(0).randint(0, 256, (3, 16, 16)).astype(np.uint8)
    other = 255 - frame
    frames, numbers = [frame, frame, other, other], [4, 4, 9, 9]
    whole = runner.infer(np.stack(frames, 1)[None].astype(np.float32))[0]
    reuse = StemReuse(tiny_model, runner)
    for _ in range(2):
        assert relative_difference(whole, reuse.logits(frames, numbers)) < LARGEST_DIFFERENCE


def test_colours_of_models_trained_on_bgr_are_right(model_writer, tmp_path, tiny_spec):
    """The blank before the first frame is the mean, in the order of the raw pixels."""
    path = model_writer(tmp_path / "bgr.onnx", spec=tiny_spec._replace(mean=(10.0, 99.0, 240.0)))
    with open_runner(path, "onnxruntime", threads=1) as runner:
        StemReuse(path, runner)  # compares itself
        turned = runner.spec._replace(channel_order="BGR")
        runner.spec = turned
        with pytest.raises(ModelFileError, match="it gives other logits"):
            StemReuse(path, runner)


def test_logits_that_are_not_finite_are_refused(tiny_model):
    with open_runner(tiny_model, "onnxruntime", threads=1) as runner:
        reuse = StemReuse(tiny_model, runner)
        reuse._rest = lambda features: np.full((1, 5), np.nan, np.float32)
        with pytest.raises(BackendError, match="not finite"):
            reuse.logits([np.zeros((3, 16, 16), np.uint8)] * 4, [0, 1, 2, 3])


def test_a_first_layer_over_other_than_three_frames_is_refused(tiny_model, tmp_path):
    import onnx

    model = onnx.load(str(tiny_model))
    for entry in model.graph.node[1].attribute:
        if entry.name == "strides":
            entry.ints[0] = 2
    onnx.save(model, str(tmp_path / "strided.onnx"))
    refusal = pytest.raises(UsageError, match=r"strided\.onnx: its first layer is not a conv")
    with open_runner(tiny_model, "onnxruntime", threads=1) as runner, refusal:
        StemReuse(tmp_path / "strided.onnx", runner)


def test_a_file_that_is_no_model_is_refused(tiny_model, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"no model")
    refusal = pytest.raises(ModelFileError, match=r"onnx cannot read .*x\.onnx")
    with open_runner(tiny_model, "onnxruntime", threads=1) as runner, refusal:
        StemReuse(tmp_path / "x.onnx", runner)


def test_other_precisions_and_backends_are_refused(tiny_model, monkeypatch):
    with open_runner(tiny_model, "onnxruntime", threads=1) as runner:
        facts = runner.describe()
        monkeypatch.setattr(runner, "describe", lambda: dict(facts, precision="fp16"))
        with pytest.raises(UsageError, match="in fp32 on a CPU; got onnxruntime in fp16"):
            StemReuse(tiny_model, runner)
        monkeypatch.setattr(runner, "describe", lambda: facts)
        monkeypatch.setattr(runner, "backend", "tensorrt")
        with pytest.raises(UsageError, match="with onnxruntime or openvino; got tensorrt"):
            StemReuse(tiny_model, runner)


def test_without_the_onnx_package_it_says_what_to_install(tiny_model, monkeypatch):
    with open_runner(tiny_model, "onnxruntime", threads=1) as runner:
        monkeypatch.setitem(sys.modules, "onnx", None)
        with pytest.raises(UsageError, match="pip install onnx"):
            StemReuse(tiny_model, runner)


def test_gesture_demo_gives_the_same_events_with_it(model_writer, tiny_spec, tmp_path, capsys):
    cv2 = pytest.importorskip("cv2")
    model = model_writer(tmp_path / "model.onnx", spec=tiny_spec._replace(labels=tuple("abcd")))
    (tmp_path / "recogniser.json").write_text(
        '{"threshold": 0.01, "presence_on": 0, "presence_off": 0, "early_lead": 0, "rearm_s": 0.3}'
    )
    folder, rng = tmp_path / "frames", np.random.RandomState(0)
    folder.mkdir()
    for number in range(40):
        cv2.imwrite(str(folder / f"{number:05d}.png"), rng.randint(0, 256, (20, 24, 3)))
    call = ["--model", str(model), "--source", str(folder), "--backend", "onnxruntime"]
    events = []
    for more in ([], ["--reuse-stem"]):
        assert main([*call, "--hop", "1", *more]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        events.append([dict(line, latency_ms=0) for line in lines])
    assert events[0] == events[1]
    assert events[0]


SIGNALLED = """
import os, signal, sys
from clipedge.jetson.runners import open_runner
from clipedge.jetson.stem_reuse import StemReuse
signal.signal(signal.SIGINT, lambda *_: print("heard"))
first, second = (open_runner(sys.argv[1], "openvino", threads=1) for _ in range(2))
reuse = StemReuse(sys.argv[1], second)
first.close()
second.close()
del first, second, reuse
os.kill(os.getpid(), signal.SIGINT)
"""


def test_signals_are_heard_after_models_were_closed_in_any_order(tiny_model):
    pytest.importorskip("openvino", reason="openvino is not installed")
    if sys.version_info < (3, 10):
        pytest.skip("openvino's Runner needs Python 3.10")
    call = [sys.executable, "-c", SIGNALLED, str(tiny_model)]
    assert subprocess.check_output(call, timeout=60) == b"heard\n"

import numpy as np
import pytest
import torch

from clipedge.export.onnx_graph import build_onnx
from clipedge.export.parity import ParityError, check_parity
from clipedge.jetson.logits import check_clips, compare
from clipedge.jetson.spec import ClipSpec

SPEC = ClipSpec(model="odd", labels=tuple("abcd"), frames=8, size=16)


class Small(torch.nn.Module):
    """A convolution and a mean: enough to export."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv3d(3, 4, 3)

    def forward(self, clips):
        return self.conv(clips).relu().mean((2, 3, 4))


class BakesTheTracedClip(Small):
    """Reads a value out of the clip while it is traced, as the published shortcut A does."""

    def forward(self, clips):
        logits = super().forward(clips)
        return logits + float(clips.abs().max())


class MixesTheBatch(Small):
    """Each clip's logits hold a part of its neighbour's."""

    def forward(self, clips):
        logits = super().forward(clips)
        return logits + 0.01 * logits.mean(0, keepdim=True)


def test_a_right_file_passes():
    report = check_parity(Small().eval(), build_onnx(Small().eval(), SPEC), SPEC)
    assert report.passed
    assert report.conclusive
    assert (report.answers, report.top1_agree) == (11, 11)
    assert report.to_dict()["relative_error"] < 1e-5


@pytest.mark.filterwarnings("ignore")
def test_a_file_with_the_traced_clip_baked_in_fails():
    model = BakesTheTracedClip().eval()
    with pytest.raises(ParityError, match="the exported graph is wrong"):
        check_parity(model, build_onnx(model, SPEC), SPEC)


def test_a_file_that_mixes_the_clips_of_a_batch_fails():
    model = MixesTheBatch().eval()
    with pytest.raises(ParityError):
        check_parity(model, build_onnx(model, SPEC), SPEC)


def test_a_file_of_other_weights_fails():
    other = Small()
    with torch.no_grad():
        other.conv.weight[0, 0, 0, 0, 0] += 0.01
    with pytest.raises(ParityError):
        check_parity(Small().eval(), build_onnx(other.eval(), SPEC), SPEC)


def test_a_model_that_answers_every_clip_alike_proves_nothing(caplog):
    model = Small().eval()
    with torch.no_grad():
        model.conv.weight.zero_()
    report = check_parity(model, build_onnx(model, SPEC), SPEC)
    assert not report.conclusive
    assert "proves little" in caplog.text


def test_nan_never_passes():
    numbers = np.array([[1.0, 2.0]], np.float32)
    assert not compare(1, numbers, np.array([[np.nan, 2.0]], np.float32)).finite
    model = Small().eval()
    with torch.no_grad():
        model.conv.bias[0] = float("nan")
    with pytest.raises(ParityError):
        check_parity(model, build_onnx(model, SPEC), SPEC)


def test_check_clips_are_pixels_unlike_each_other():
    clips = check_clips(SPEC, 8, seed=1)
    assert clips.shape == (8, 3, 8, 16, 16)
    assert clips.dtype == np.float32
    assert 0 <= clips.min() < clips.max() <= 255
    assert np.array_equal(clips, np.round(clips))
    assert not any(np.array_equal(clips[0], other) for other in clips[1:])
    moving = clips[1]
    assert np.abs(moving[:, 0] - moving[:, -1]).max() > 50

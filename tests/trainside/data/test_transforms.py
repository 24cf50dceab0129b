"""Crops, mirror images and colours of training clips, and the board's view in evaluation."""

import numpy as np
import pytest

from clipedge.jetson.preprocess import Preprocessor
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.data.augmentation import PAPER_SCALES, Augmentation
from clipedge.trainside.data.gestures import MIRRORED
from clipedge.trainside.data.transforms import (
    draw,
    evaluation_frames,
    kept_shape,
    mirrored_target,
    scaled,
    training_frames,
)

SPEC = ClipSpec("any", ("a", "b"), frames=4, size=16)


def drawn(augmentation, count=200):
    return [draw(np.random.default_rng(seed), augmentation) for seed in range(count)]


def ramp(height, width):
    """A picture whose red is its column and green its row."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack((columns, rows, np.zeros_like(rows)), axis=2).astype(np.uint8)


def test_the_papers_scales_are_drawn_evenly_and_anywhere():
    draws = drawn(Augmentation(), 1000)
    counts = [sum(one.scale == scale for one in draws) for scale in PAPER_SCALES]
    assert sum(counts) == 1000
    assert min(counts) > 140
    for places in ([one.top for one in draws], [one.left for one in draws]):
        assert np.histogram(places, 4, (0.0, 1.0))[0].min() > 180


def test_corners_and_centre_are_drawn_evenly():
    draws = drawn(Augmentation(crop="corner"), 1000)
    places, counts = np.unique([(one.top, one.left) for one in draws], axis=0, return_counts=True)
    assert places.tolist() == [[0, 0], [0, 1], [0.5, 0.5], [1, 0], [1, 1]]
    assert counts.min() > 140


def test_the_centre_alone_can_be_asked_for():
    draws = drawn(Augmentation(scales=(1.0,), crop="center"))
    assert {(one.scale, one.top, one.left) for one in draws} == {(1.0, 0.5, 0.5)}


def test_only_what_may_be_varied_is():
    plain, full = drawn(Augmentation()), drawn(Augmentation(mirrored={}, colour=True))
    assert not any(one.mirror for one in plain)
    assert 60 < sum(one.mirror for one in full) < 140
    assert all((one.gain == 1).all() and (one.offset == 0).all() for one in plain)
    gains, offsets = (np.array([getattr(one, name) for one in full]) for name in ("gain", "offset"))
    assert gains.dtype == offsets.dtype == np.float32
    assert 0.75 <= gains.min() < 0.77
    assert 1.23 < gains.max() <= 1.25
    assert -20 <= offsets.min() < -19
    assert 19 < offsets.max() <= 20
    # What is not used is drawn all the same: one choice changes nothing in another.
    assert [one.start for one in plain] == [one.start for one in full]
    assert [one.scale for one in plain] == [one.scale for one in full]


@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (50, 50)])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_one_square_is_cut_from_all_pictures_and_lies_inside(shape, scale):
    base = drawn(Augmentation(scales=(scale,)), 1)[0]
    side = round(scale * min(shape))
    for top, left in ((0.0, 0.0), (1.0, 1.0), (0.5, 0.25)):
        draws = base._replace(top=top, left=left)
        clip = training_frames([ramp(*shape)] * 4, draws, side)  # unscaled
        assert clip.shape == (3, 4, side, side)
        assert clip.dtype == np.uint8
        assert clip.flags["C_CONTIGUOUS"]
        assert clip[1, 0, 0, 0] == round(top * (shape[0] - side))
        assert clip[0, 0, 0, 0] == round(left * (shape[1] - side))
        assert (np.diff(clip[0, 0].astype(int), axis=1) == 1).all()
        assert (clip == clip[:, :1]).all()


def test_a_mirror_image_is_turned_left_to_right():
    draws = drawn(Augmentation(scales=(1.0,), crop="center"), 1)[0]
    pictures = [ramp(20, 30)] * 2
    plain = training_frames(pictures, draws._replace(mirror=False), 20)
    mirrored = training_frames(pictures, draws._replace(mirror=True), 20)
    np.testing.assert_array_equal(mirrored, plain[..., ::-1])


def test_a_mirror_image_has_the_label_of_the_opposite_direction():
    labels = ("Swiping Left", "Swiping Right", "Stop Sign")
    assert [mirrored_target(target, labels, MIRRORED) for target in range(3)] == [1, 0, 2]


def test_pictures_shrink_by_averaging_and_grow_without_steps():
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = 200
    np.testing.assert_array_equal(scaled(stripes, 16, 16), np.full((16, 16, 3), 100))
    grown = scaled(ramp(8, 8) * 10, 32, 32)[..., 0].astype(int)
    assert np.diff(grown, axis=1).max() <= 3
    assert scaled(stripes, 32, 32) is stripes


@pytest.mark.parametrize(
    ("shape", "kept"),
    [
        ((100, 176), (100, 176)),  # Jester
        ((240, 320), (240, 320)),  # UCF-101
        ((256, 340), (256, 340)),  # Kinetics, as it is often shared
        ((720, 1280), (224, 398)),
        ((1280, 720), (398, 224)),
    ],
)
def test_large_pictures_are_kept_at_twice_the_models_size(shape, kept):
    assert kept_shape(*shape, 112) == kept


def test_evaluation_gives_the_models_view_of_the_board_without_loss():
    rng = np.random.default_rng(0)
    pictures = [
        rng.integers(0, 256, shape).astype(np.uint8)
        for shape in ((30, 40, 3), (40, 30, 3), (16, 16, 3), (9, 12, 3), (33, 57, 3))
    ]
    frames = evaluation_frames(pictures, SPEC)
    assert frames.dtype == np.uint8
    preprocess = Preprocessor(SPEC)
    for picture, frame in zip(pictures, frames, strict=True):
        np.testing.assert_array_equal(preprocess(picture), frame.astype(np.float32))

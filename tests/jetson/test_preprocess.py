import numpy as np
import pytest

from clipedge.jetson.errors import ClipError
from clipedge.jetson.preprocess import Preprocessor
from clipedge.jetson.spec import ClipSpec

pytest.importorskip("cv2", reason="OpenCV is not installed")

SPEC = ClipSpec(model="m", labels=("a",), size=112)


def smooth_picture(height, width):
    """A picture without detail: every sound way to scale it gives nearly the same."""
    rows, columns = np.mgrid[0:height, 0:width]
    red = 255.0 * rows / height
    green = 255.0 * columns / width
    return np.stack([red, green, np.full_like(red, 40.0)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("shape", [(480, 640), (240, 320), (100, 176), (1080, 608), (112, 112)])
def test_any_picture_becomes_the_models_square(shape):
    frame = Preprocessor(SPEC)(smooth_picture(*shape))
    assert frame.shape == (3, 112, 112)
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous


def test_colours_stay_in_order_and_range():
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[:] = (200, 100, 50)
    frame = Preprocessor(SPEC)(picture)
    assert [frame[c].mean() for c in range(3)] == [200, 100, 50]


def test_the_centre_square_is_kept():
    picture = np.zeros((100, 300, 3), np.uint8)
    picture[:, 100:200] = 255  # the centre square, all of it
    frame = Preprocessor(SPEC)(picture)
    assert frame[:, :, 1:-1].min() == 255
    assert frame.mean() > 250


def test_shrinking_averages_instead_of_picking():
    picture = np.zeros((1120, 1120, 3), np.uint8)
    picture[::2] = 255  # every second row: picking would give 0 or 255
    frame = Preprocessor(SPEC)(picture)
    assert abs(frame.astype(float) - 127.5).max() < 2


@pytest.mark.parametrize(
    ("shape", "scaled"),
    [
        ((240, 320), (112, 149)),
        ((560, 240), (261, 112)),
        ((480, 640), (112, 149)),
        ((721, 1281), (112, 198)),
        ((1080, 1920), (112, 199)),
    ],
)
def test_it_stays_near_the_released_weights_preprocessing(shape, scaled):
    pil = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    rng = np.random.RandomState(0)
    grain = max(1, min(shape) // 30)
    coarse = rng.randint(0, 255, (shape[0] // grain, shape[1] // grain, 3)).astype(np.uint8)
    picture = np.asarray(pil.fromarray(coarse).resize(shape[::-1], pil.BICUBIC))
    short_side = np.asarray(pil.fromarray(picture).resize(scaled[::-1], pil.BILINEAR))
    top, left = (round((side - 112) / 2.0) for side in scaled)
    theirs = short_side[top : top + 112, left : left + 112].transpose(2, 0, 1)
    difference = np.abs(Preprocessor(SPEC)(picture).astype(int) - theirs)
    assert difference.mean() < 2  # grey levels
    assert difference.max() < 25


def test_a_picture_of_the_models_size_is_its_own_view():
    picture = np.random.RandomState(0).randint(0, 256, (112, 112, 3)).astype(np.uint8)
    preprocess = Preprocessor(SPEC)
    preprocess(smooth_picture(480, 640))
    view = preprocess(picture)
    assert np.array_equal(view.transpose(1, 2, 0), picture)
    assert np.array_equal(preprocess(view.transpose(1, 2, 0)), view)  # as a replay hands it in


def test_pictures_of_changing_shapes_come_out_as_from_a_new_one():
    rng = np.random.RandomState(0)
    preprocess = Preprocessor(SPEC)
    for shape in ((480, 640, 3), (100, 150, 3), (112, 112, 3), (481, 643, 3), (480, 640, 3)):
        picture = rng.randint(0, 256, shape).astype(np.uint8)
        before = picture.copy()
        assert np.array_equal(preprocess(picture), Preprocessor(SPEC)(picture))
        assert np.array_equal(picture, before)


def test_it_writes_where_it_is_told_and_its_own_results_stay():
    preprocess, first, second = Preprocessor(SPEC), smooth_picture(480, 640), np.zeros_like
    out = np.empty((3, 112, 112), np.uint8)
    assert preprocess(first, out=out) is out
    kept = preprocess(first)
    preprocess(second(first))
    assert np.array_equal(kept, out)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
    ],
)
def test_what_is_no_rgb_picture_is_refused(image):
    with pytest.raises(ClipError, match=r"\(H, W, 3\) uint8, RGB"):
        Preprocessor(SPEC)(image)

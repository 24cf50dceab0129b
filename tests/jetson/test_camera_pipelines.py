"""GStreamer pipelines, run for real by Debian's OpenCV, which has GStreamer as JetPack's has."""

import json
import os
import subprocess

import pytest

import clipedge.jetson
from clipedge.jetson.camera import SourceOptions, open_source
from clipedge.jetson.camera.pipelines import CsiCamera, Pipeline, csi_pipeline
from clipedge.jetson.errors import SourceError, UsageError

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

DEBIAN_PYTHON = "/usr/bin/python3"
NO_GSTREAMER = "no OpenCV with GStreamer: apt-get install python3-opencv gstreamer1.0-plugins-base"
PROBE = (
    "import cv2, sys; sys.exit('GStreamer:                   YES' not in cv2.getBuildInformation())"
)
TEST_PICTURE = (
    "videotestsrc is-live=true pattern={} ! video/x-raw,width=64,height=48,framerate=50/1"
)

READER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from clipedge.jetson.camera import open_source
from clipedge.jetson.errors import ClipedgeError
results = []
for text in sys.argv[2:]:
    try:
        with open_source(text) as source:
            pictures = source.pictures()
            frames = [next(pictures) for _ in range(10)]
            image = frames[-1].image
            results.append([image.shape, image.mean((0, 1)).tolist(),
                            frames[-1].timestamp_s - frames[0].timestamp_s])
    except ClipedgeError as error:
        results.append(str(error))
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """`read(*texts)`: of each its picture's shape, its mean colour and the time of ten frames."""
    probe = None
    if os.path.exists(DEBIAN_PYTHON):
        probe = subprocess.run(
            [DEBIAN_PYTHON, "-c", PROBE], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    if probe is None or probe.returncode != 0:
        pytest.skip(NO_GSTREAMER)
    # The package under test, and nothing else of its Python.
    root = tmp_path_factory.mktemp("packages")
    (root / "clipedge").mkdir()
    (root / "clipedge" / "jetson").symlink_to(next(iter(clipedge.jetson.__path__)))

    def run(*texts):
        done = subprocess.run(
            [DEBIAN_PYTHON, "-B", "-c", READER, str(root), *texts],
            stdout=subprocess.PIPE,
            universal_newlines=True,  # noqa: UP021  Python 3.6
            timeout=60,
        )
        assert done.returncode == 0
        return json.loads(done.stdout)

    return run


def test_a_pipeline_gives_rgb_frames_with_and_without_an_appsink_of_its_own(read):
    red, blue = (TEST_PICTURE.format(colour) for colour in ("red", "blue"))
    results = read(red, blue + " ! videoconvert ! video/x-raw,format=BGR ! appsink")
    for (shape, colour, span_s), expected in zip(results, ([255, 0, 0], [0, 0, 255])):
        assert shape == [48, 64, 3]
        assert colour == pytest.approx(expected, abs=3)
        assert span_s > 0.1  # ten frames at 50 Hz, some dropped


def test_what_is_wrong_with_a_pipeline_is_told_in_gstreamers_words(read):
    missing, unknown, torn, absent = read(
        "nosuchelement ! videoconvert",
        "videotestsrc nonsense=1 ! videoconvert",
        "videotestsrc ! ! videoconvert",
        "v4l2src device=/dev/video97 ! videoconvert",
    )
    assert "nosuchelement" in missing and "gst-inspect-1.0" in missing
    assert "nonsense" in unknown
    assert "pipeline 'videotestsrc ! ! videoconvert'" in torn
    assert "gst-launch-1.0 v4l2src device=/dev/video97 ! videoconvert ! fakesink" in absent


def test_the_pipeline_of_a_csi_camera_is_right_but_for_what_only_a_jetson_has(read):
    text = csi_pipeline(1, (64, 48), 29.5, 2)
    assert "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM)," in text
    assert "! nvvidconv flip-method=2 !" in text
    for here, there in (
        ("nvarguscamerasrc sensor-id=1", "videotestsrc pattern=green is-live=true"),
        ("(memory:NVMM)", ""),
        ("nvvidconv flip-method=2", "videoconvert"),
    ):
        assert here in text
        text = text.replace(here, there)
    (shape, colour, _), refused = read(text, "csi://0")
    assert shape == [48, 64, 3]
    assert colour == pytest.approx([0, 255, 0], abs=8)  # NV12
    assert "nvarguscamerasrc" in refused and "need a Jetson" in refused


def test_the_newest_picture_alone_is_kept_by_a_pipeline():
    assert Pipeline("a ! b").text.endswith("appsink drop=true max-buffers=1 sync=false")
    assert Pipeline("a ! b !").text.count("!") == 4
    assert Pipeline("a ! appsink").text == "a ! appsink"
    assert CsiCamera(0, None, 30.0, 0).text.endswith(Pipeline("a ! b").text[len("a ! b ") :])


def test_opencv_without_gstreamer_is_told_and_where_one_with_it_is():
    if "GStreamer:                   NO" not in cv2.getBuildInformation():
        pytest.skip("this OpenCV has GStreamer")
    for text in ("videotestsrc ! videoconvert", "csi://0"):
        with pytest.raises(SourceError, match="needs OpenCV with GStreamer"):
            open_source(text)


def test_csi_cameras_have_numbers():
    with pytest.raises(UsageError, match="csi://0, csi://1"):
        open_source("csi://front")


def test_what_a_source_cannot_do_is_a_wrong_call():
    for text, options, message in (
        ("0", SourceOptions(flip=2), "--camera-flip is for CSI"),
        ("rtsp://host/a", SourceOptions(size=(640, 480)), "--camera-size is for"),
        ("csi://0", SourceOptions(loop=True), "--loop is for files; csi://0 is live"),
        ("0", SourceOptions(realtime=True), "--realtime is for files"),
    ):
        with pytest.raises(UsageError, match=message):
            open_source(text, options)

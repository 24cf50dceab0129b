import contextlib
import logging
import re

import numpy as np
import pytest

from clipedge.jetson.camera import open_source
from clipedge.jetson.camera.capture import Capture
from clipedge.jetson.cli import build_parser
from clipedge.jetson.demo_outputs import open_outputs, run_facts
from clipedge.jetson.runners import open_runner
from clipedge.jetson.source_options import SourceOptions

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")


@pytest.fixture
def runner(model_writer, tmp_path):
    with open_runner(model_writer(tmp_path / "model.onnx"), "onnxruntime") as one:
        yield one


@pytest.fixture
def folder(tmp_path):
    """Two pictures as a source."""
    path = tmp_path / "frames"
    path.mkdir()
    for number in range(2):
        cv2.imwrite(str(path / f"{number}.png"), np.zeros((48, 64, 3), np.uint8))
    return path


def parsed(*flags):
    return build_parser().parse_args(["--model", "model.onnx", *map(str, flags)])


@pytest.mark.parametrize(("loop", "hinted"), [(False, True), (True, False)])
def test_the_page_of_a_file_tells_how_it_is_played_again(runner, folder, loop, hinted, caplog):
    pytest.importorskip("tornado", reason="tornado, which serves the page, is not installed")
    caplog.set_level(logging.INFO)
    arguments = parsed("--source", folder, "--display", "web", "--web", "127.0.0.1:0",
                       *["--loop"][:loop])  # fmt: skip
    with open_source(str(folder), SourceOptions(loop=loop)) as source:
        with contextlib.ExitStack() as stack:
            open_outputs(stack, arguments, runner, source, None)
        assert run_facts(runner, source).playing
    assert re.search("The page is at http://127.0.0.1:[0-9]+/", caplog.text)
    assert ("(--loop plays the file again)" in caplog.text) == hinted


def test_a_camera_is_not_said_to_play(runner):
    class Camera(Capture):
        name = "camera 0"

        def __init__(self):
            pass

    assert not run_facts(runner, Camera()).playing

"""gesture-demo as a user runs it, with a recording as its network camera, seen in a browser."""

import contextlib
import json
import re
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clipedge.jetson.recogniser_settings import RecogniserSettings
from clipedge.jetson.spec import ClipSpec

TESTS = Path(__file__).resolve().parent.parent
CAMERA = TESTS / "jetson" / "camera_servers" / "http_camera.py"
SPEC = ClipSpec(model="tiny", labels=("wave", "swipe", "stop"), frames=4, size=16)
# So that a model that never learnt names a gesture: the one it is least unsure of.
SETTINGS = RecogniserSettings(threshold=0.05, presence_on=0.1, presence_off=0.05)
FRAMES = 120  # of the recording


@pytest.fixture
def model(tmp_path: Path) -> Path:
    SETTINGS.save(tmp_path / "recogniser.json")  # where gesture-demo looks for it
    write_model = runpy.run_path(str(TESTS / "jetson" / "conftest.py"))["write_model"]
    return Path(write_model(tmp_path / "tiny.onnx", spec=SPEC))


@pytest.fixture
def pictures(shared: Path, tmp_path: Path) -> list[Path]:
    """Frames of a real recording, as a camera sends them."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    recording = shared / "data" / "gestures_ivokersten" / "example.avi"
    if not recording.exists():
        pytest.skip(f"no recording at {recording}")
    capture, paths = cv2.VideoCapture(str(recording)), []
    for number in range(FRAMES):
        grabbed, picture = capture.read()
        assert grabbed
        paths.append(tmp_path / f"{number:04d}.jpg")
        cv2.imwrite(str(paths[-1]), picture)
    return paths


@contextlib.contextmanager
def process(arguments: list[Any]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [str(argument) for argument in arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as one:
        try:
            yield one
        finally:
            one.kill()


@contextlib.contextmanager
def camera(pictures: list[Path], port: int = 0) -> Iterator[int]:
    with process([sys.executable, CAMERA, port, *pictures]) as one:
        assert one.stdout is not None
        yield int(one.stdout.readline())


def await_state(page: Any, state: str) -> None:
    page.wait_for_function("state => document.body.dataset.state === state", arg=state)


def test_a_camera_is_seen_recognised_lost_found_and_ended(
    open_page: Any, command: Any, model: Path, pictures: list[Path], tmp_path: Path
) -> None:
    events = tmp_path / "events.jsonl"
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(contextlib.ExitStack())
        port = first.enter_context(camera(pictures))
        demo = stack.enter_context(
            process(
                [command("gesture-demo"), "--model", model, "--backend", "onnxruntime",
                 "--source", f"http://127.0.0.1:{port}/stream",
                 "--display", "web", "--web", "127.0.0.1:0", "--events", events]
            )
        )  # fmt: skip
        assert demo.stderr is not None
        url = None
        while url is None:
            line = demo.stderr.readline()
            assert line, "gesture-demo ended before it served the page"
            url = re.search("http://127[^ ]*/$", line.strip())
        page = open_page(url.group(), quiet=False)  # at the end it asks in vain
        await_state(page, "live")
        page.wait_for_selector("#events li")
        page.wait_for_selector("#empty", state="hidden")
        picture = page.locator("#picture")
        before = picture.screenshot()
        until_s = time.monotonic() + 25
        while picture.screenshot() == before:
            assert time.monotonic() < until_s, "the picture stands still"
        first.close()
        await_state(page, "lost")
        assert str(port) in page.inner_text("#notice")
        stack.enter_context(camera(pictures, port))
        await_state(page, "live")
        demo.send_signal(signal.SIGTERM)
        await_state(page, "ended")
        demo.communicate(timeout=25)
        shown = [row.inner_text() for row in page.locator("#events li .label").all()]
    written = [json.loads(line)["label"] for line in events.read_text().splitlines()]
    assert written and shown == written[::-1]

"""A long run of gesture-demo: a camera that is lost and found, viewers that come and go.

The camera is a server of motion JPEG in this process; gesture-demo runs as a user starts it. The
short form takes seconds; ``make soak`` sets CLIPEDGE_SOAK_FRAMES for the long one.
"""

import http.server
import json
import os
import pathlib
import random
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from clipedge.jetson.spec import ClipSpec

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
pytest.importorskip("tornado", reason="tornado, which serves the page, is not installed")

FRAMES = int(os.environ.get("CLIPEDGE_SOAK_FRAMES", "3000"))
LOSSES = max(2, FRAMES // 5000)  # 20 of 100,000
RATE_HZ = 400.0
RED_S, GREY_S = 1.2, 1.6  # of each gesture, and of the rest between two
STALL_S = 6.0  # longer than a reader waits
# The first part of a run fills caches and pools.
SETTLED = 0.3
# Of a run of seconds, a page or two of the allocator are more than 5 %.
GROWTH = 0.05 if FRAMES >= 50_000 else 0.15
LIMIT_S = 60 + 3 * FRAMES / RATE_HZ

SPEC = ClipSpec("colour", ("No gesture", "Red"), dataset="test", frames=4, size=16,
                stride_frames=2, frame_rate_hz=24.0)  # fmt: skip


def write_colour_model(path):
    """A model that calls a clip 'Red' as far as it is red."""
    pytest.importorskip("onnx", reason="onnx, which makes the test model, is missing")
    from onnx import helper, numpy_helper

    clips = helper.make_tensor_value_info("clips", 1, ["batch", *SPEC.clip_shape])
    logits = helper.make_tensor_value_info("logits", 1, ["batch", 2])
    weights = np.array([[0, 0.06], [0, -0.03], [0, -0.03]], np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["clips"], ["mean"], axes=[2, 3, 4], keepdims=0),
            helper.make_node("Gemm", ["mean", "weights", "bias"], ["logits"]),
        ],
        "colour",
        [clips],
        [logits],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([0, -5], np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 7
    entry = model.metadata_props.add()
    entry.key, entry.value = "clipedge.spec", SPEC.to_json()
    pathlib.Path(str(path)).write_bytes(model.SerializeToString())


def jpegs(colour):
    """A short loop of pictures of one colour, each a little different."""
    loop = []
    for number in range(24):
        picture = np.full((48, 64, 3), colour, np.uint8)
        cv2.circle(picture, (2 * number, 24), 5, (90, 90, 90), -1)
        loop.append(cv2.imencode(".jpg", picture)[1].tobytes())
    return loop


class Camera:
    """Serves red and grey in turns; counts the gestures that a client saw from start to end."""

    def __init__(self):
        self.gestures = 0
        self.sent = 0
        self.losses = 0
        self.connections = 0
        self.streaming = 0
        self._lose = ""  # how: "cable" or "stall"
        self._loops = {"red": jpegs((0, 0, 255)), "grey": jpegs((128, 128, 128))}
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                camera.connections += 1
                camera.streaming += 1
                try:
                    camera.stream(self.wfile)
                finally:
                    camera.streaming -= 1

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_):  # the client has gone
                pass

        self._make = lambda port: Server(("127.0.0.1", port), Handler)
        self._server = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def open(self):
        self._lose = ""
        self._server = self._make(self.port)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        """Finish the gesture under way, then let nobody connect."""
        self._lose = "cable"
        self._server.shutdown()
        self._server.server_close()
        wait_for(lambda: not self.streaming, 30, "the stream does not end")

    def lose(self, how):
        """Drop the connection, or send nothing for a while; return when it is found again."""
        before = self.connections
        self.losses += 1
        if how == "stall":
            self._lose = how
        else:
            self.close()
            time.sleep(0.5)
            self.open()
        wait_for(lambda: self.connections > before, 30, f"it is not found again after a {how}")

    def stream(self, out):
        """Send grey and red for one client, until it goes or the camera is lost, while grey."""
        while not self._lose:
            self._send(out, "grey", GREY_S)
            self._send(out, "red", RED_S)
            self.gestures += 1
        self._send(out, "grey", GREY_S)  # the last gesture ends as the others do
        if self._lose == "stall":
            self._lose = ""
            time.sleep(STALL_S)

    def _send(self, out, colour, seconds):
        loop, began_s = self._loops[colour], time.monotonic()
        number = 0
        while True:
            due_s = began_s + number / RATE_HZ - time.monotonic()
            if due_s > 0:
                time.sleep(due_s)
            if time.monotonic() - began_s >= seconds:
                return
            jpeg = loop[number % len(loop)]
            head = "--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n"
            out.write(head.format(len(jpeg)).encode() + jpeg + b"\r\n")
            number += 1
            self.sent += 1


class Viewers:
    """Three pages that come and go, in a thread of their own."""

    def __init__(self, port):
        self.pictures = 0
        self.visits = 0
        self.problems = []
        self.last_state = {}
        self.page_stays = True  # until the program is asked to end
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self):
        import asyncio

        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(asyncio.gather(*[self._come_and_go(n) for n in range(3)]))

    async def _come_and_go(self, seed):
        import asyncio

        chance = random.Random(seed)
        while not self._stop.is_set():
            try:
                await self._visit(chance.uniform(0.5, 4.0))
            except Exception as error:
                if self.page_stays:
                    self.problems.append(error)
            await asyncio.sleep(chance.uniform(0.1, 1.0))

    async def _visit(self, seconds):
        from tornado.websocket import websocket_connect

        page = await websocket_connect(f"ws://127.0.0.1:{self._port}/live")
        self.visits += 1
        until_s = time.monotonic() + seconds
        await page.write_message("next")
        while time.monotonic() < until_s and not self._stop.is_set():
            message = await page.read_message()
            if message is None:
                return
            if isinstance(message, bytes):
                self.pictures += 1
                await page.write_message("next")
            else:
                self.last_state = json.loads(message)
        page.close()


def resident_kib(process):
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("the process is gone")


def wait_for(condition, limit_s, what):
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, what
        time.sleep(0.05)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_nothing_grows_and_no_event_is_lost_over_a_long_run(tmp_path):
    model, events = tmp_path / "colour.onnx", tmp_path / "events.jsonl"
    write_colour_model(model)
    camera, web = Camera(), free_port()
    camera.open()
    talk = (tmp_path / "talk.txt").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "clipedge.jetson.cli", "--model", str(model), "--backend",
         "onnxruntime", "--source", f"http://127.0.0.1:{camera.port}/", "--events", str(events),
         "--display", "web", "--web", f"127.0.0.1:{web}"],
        stdout=subprocess.DEVNULL, stderr=talk,
    )  # fmt: skip
    viewers = None
    try:
        wait_for(lambda: camera.sent > 200 or process.poll() is not None, 60, "no frame was taken")
        viewers = Viewers(web)
        memory = follow(process, camera)
        camera.close()
        wait_for(lambda: lines(events) >= camera.gestures, 10, f"{lines(events)} of the events")
        viewers.page_stays = False
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        viewers.close()
    finally:
        process.kill()
        process.wait()
        talk.seek(0)
        sys.stdout.write(talk.read()[-4000:])
    settled, last = median_of(memory, SETTLED, 0.5), median_of(memory, 0.8, 1.0)
    sys.stdout.write(
        f"{camera.sent} frames, {camera.gestures} gestures, {camera.losses} losses, "
        f"{viewers.visits} visits, {viewers.pictures} pictures; "
        f"{settled} KiB settled, {last} KiB at the end ({last / settled - 1:+.1%})\n"
    )
    assert camera.connections == camera.losses + 1, "a re-connect was missed, or one too many"
    assert [json.loads(line)["label"] for line in events.read_text().splitlines()] == [
        "Red"
    ] * camera.gestures
    assert viewers.problems == []
    assert viewers.visits > 3
    assert viewers.pictures > 10
    assert last <= settled * (1 + GROWTH)


def follow(process, camera):
    """Lose and find the camera again and again; return the memory of the process over time."""
    memory, end_s = [], time.monotonic() + LIMIT_S
    for round_number in range(LOSSES + 1):
        share = (round_number + 1) / (LOSSES + 1)
        while camera.sent < FRAMES * share:
            assert process.poll() is None, "gesture-demo has ended"
            assert time.monotonic() < end_s, f"only {camera.sent} frames went"
            memory.append(resident_kib(process))
            time.sleep(0.2)
        if round_number < LOSSES:
            camera.lose("stall" if round_number % 2 else "cable")
    return memory


def lines(path):
    return len(path.read_text().splitlines())


def median_of(memory, begin, end):
    part = memory[int(len(memory) * begin) : max(int(len(memory) * end), 1)]
    return int(np.median(part))

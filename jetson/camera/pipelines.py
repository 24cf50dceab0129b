"""Pictures that GStreamer makes: CSI cameras of a Jetson, and any pipeline the user writes."""

import re
from typing import Optional, Tuple

from clipedge.jetson.camera import gst_parse
from clipedge.jetson.camera.capture import Device, Reader
from clipedge.jetson.camera.naming import without_passwords
from clipedge.jetson.camera.opencv import OpenCvReader, quiet_cv2
from clipedge.jetson.errors import SourceError, UsageError

CSI_SIZE = (1280, 720)  # a mode that the usual sensors have
# The newest picture alone is kept; sync=false hands it out when it comes, not when it is due.
APPSINK = "appsink drop=true max-buffers=1 sync=false"
TO_BGR = f"videoconvert ! video/x-raw,format=BGR ! {APPSINK}"


class Pipeline(Device):
    """A GStreamer pipeline, read through OpenCV."""

    advice = "Does it run in gst-launch-1.0?"
    _parse_advice = "gst-inspect-1.0 shows which elements there are, and what they take."

    def __init__(self, text: str, name: str = "") -> None:
        """Take a pipeline.

        Args:
            text: as gst-launch-1.0 takes it; an appsink is added where it has none.
            name: for messages, where the pipeline itself is too long.
        """
        self.name = name or f"pipeline '{without_passwords(text)}'"
        shown = without_passwords(text).split("! appsink")[0].strip(" !")
        self._start_advice = f"See why: gst-launch-1.0 {shown} ! fakesink"
        self.text = text if re.search(r"!\s*appsink\b", text) else f"{text.strip(' !')} ! {TO_BGR}"

    def open(self) -> Reader:
        """Start it."""
        cv2 = quiet_cv2()
        if re.search(r"GStreamer:\s+NO", cv2.getBuildInformation()):
            raise SourceError(
                f"{self.name} needs OpenCV with GStreamer, which this one ({cv2.__version__}) is "
                "built without. Those of JetPack and Debian (python3-opencv) have it; pip's not."
            )
        problem = gst_parse.problem_of(self.text)
        if problem is not None:
            raise SourceError(f"{self.name}: {problem}. {self._parse_advice}")
        capture = cv2.VideoCapture(self.text, cv2.CAP_GSTREAMER)
        if not capture.isOpened():
            capture.release()
            raise SourceError(f"{self.name} does not start. {self._start_advice}")
        return OpenCvReader(cv2, capture)


class CsiCamera(Pipeline):
    """A camera on the board's own connector."""

    exclusive = True
    advice = "If it does not come back: sudo systemctl restart nvargus-daemon."
    _parse_advice = "CSI cameras need a Jetson with JetPack (nvidia-l4t-gstreamer)."

    def __init__(
        self, number: int, size: Optional[Tuple[int, int]], rate_hz: float, flip: int
    ) -> None:
        """Name a camera.

        Args:
            number: of the sensor, from 0.
            size: width and height, pixels.
            rate_hz: frames a second.
            flip: 0 to 7, as nvvidconv's flip-method: 2 turns by 180 degrees.
        """
        super().__init__(csi_pipeline(number, size or CSI_SIZE, rate_hz, flip), f"csi://{number}")
        self._start_advice = (
            "Is the camera on that connector, and no other program using it? Cameras there are "
            "found when the board starts; otherwise: sudo systemctl restart nvargus-daemon."
        )


def csi_pipeline(number: int, size: Tuple[int, int], rate_hz: float, flip: int) -> str:
    """Return the pipeline of a CSI camera: sensor, conversion in hardware, BGR for OpenCV."""
    rate = f"{round(rate_hz)}/1" if rate_hz == round(rate_hz) else f"{round(rate_hz * 1000)}/1000"
    return (
        f"nvarguscamerasrc sensor-id={number} ! video/x-raw(memory:NVMM),width={size[0]},"
        f"height={size[1]},framerate={rate},format=NV12 ! nvvidconv flip-method={flip} ! "
        f"video/x-raw,format=BGRx ! {TO_BGR}"
    )


def csi_camera(text: str, size: Optional[Tuple[int, int]], rate_hz: float, flip: int) -> CsiCamera:
    """Return the camera that ``csi://N`` names; raise UsageError where it names none."""
    match = re.match("csi://([0-9]{0,2})$", text)
    if match is None:
        raise UsageError(f"'{text}': no such source. CSI cameras are csi://0, csi://1 ...")
    return CsiCamera(int(match.group(1) or 0), size, rate_hz, flip)

"""How a source shall be opened, and the flags that say so."""

import argparse
import re
import sys
from typing import Any, Dict, NamedTuple, Optional, Tuple

from clipedge.jetson.command_line import positive_float

RAW_FORMATS = ("bgr24", "rgb24", "yuyv", "gray")  # as FFmpeg names them; yuyv: its yuyv422
LARGEST_SIDE = 16384  # pixels
RAW_SIZE = (640, 480)  # width and height, pixels
CAMERA_RATE_HZ = 30.0
DEFAULT_RATE_HZ = 12.0  # of Jester's frames


class SourceOptions(NamedTuple):
    """How a source shall be opened; what is None was not asked for."""

    size: Optional[Tuple[int, int]] = None  # width and height asked of a camera, pixels
    rate_hz: Optional[float] = None  # asked of a camera
    flip: int = 0  # of a CSI camera: flip-method of nvvidconv
    wait: bool = False  # for a camera that is not there yet
    realtime: bool = False  # a file is paced by its time stamps, as a camera would
    watched: bool = False  # by a person: files keep their own pace as with realtime
    loop: bool = False  # a file begins anew at its end
    frame_rate_hz: Optional[float] = None  # of a folder or raw frames, where the user gave it
    folder_rate_hz: float = DEFAULT_RATE_HZ  # of a folder where the user gave none
    raw_size: Optional[Tuple[int, int]] = None  # width and height of raw frames, pixels
    raw_format: Optional[str] = None  # one of RAW_FORMATS

    def given(self) -> Dict[str, str]:
        """Return the flags of what is asked for, by field."""
        usual = SourceOptions()
        return {
            name: flag
            for name, flag in FLAGS.items()
            if getattr(self, name) != getattr(usual, name)
        }


FLAGS = {
    "size": "--camera-size",
    "rate_hz": "--camera-rate",
    "flip": "--camera-flip",
    "wait": "--wait-for-camera",
    "realtime": "--realtime",
    "loop": "--loop",
    "frame_rate_hz": "--frame-rate",
    "raw_size": "--raw-size",
    "raw_format": "--raw-format",
}


SOURCE_HELP = (
    "camera number such as 0, /dev/videoN, csi://0, rtsp:// or http:// address, video file, "
    "folder of frames, - for raw frames on standard input, or a GStreamer pipeline"
)


def add_source_arguments(parser: argparse.ArgumentParser, required: bool, folder_rate: str) -> None:
    """Add ``--source`` and all flags that concern it.

    Args:
        parser: of a command.
        required: whether there is no call without a source.
        folder_rate: of a folder of frames where ``--frame-rate`` is not given, for the help.
    """
    group = parser.add_argument_group("source")
    add = group.add_argument
    add("--source", required=required, help=SOURCE_HELP)
    add("--list-cameras", action=_ListCameras, help="show the cameras of this machine and exit")
    add("--camera-size", type=size, metavar="WxH", help="of a camera (if not given: 640x480; "
        "1280x720 of a CSI camera)")  # fmt: skip
    add("--camera-rate", type=positive_float, metavar="HZ",
        help=f"frames a second asked of a camera (if not given: {CAMERA_RATE_HZ:g})")  # fmt: skip
    add("--camera-flip", type=int, choices=range(8), default=0, metavar="0-7",
        help="of a CSI camera: flip-method of nvvidconv; 2 turns it upside down")  # fmt: skip
    add("--wait-for-camera", action="store_true", help="wait for a camera that is not there yet")
    add("--realtime", action="store_true", help="play a file at its own pace, as a camera gives it")
    add("--loop", action="store_true", help="play a file again and again")
    add("--frame-rate", type=positive_float, metavar="HZ",
        help="of a folder of frames or of raw frames (if not given: of a folder "
        f"{folder_rate}; raw frames: when they come)")  # fmt: skip
    add("--raw-size", type=size, metavar="WxH", help="of raw frames (if not given: 640x480)")
    add("--raw-format", choices=RAW_FORMATS,
        help=f"of raw frames (if not given: {RAW_FORMATS[0]})")  # fmt: skip


def source_options(arguments: argparse.Namespace, folder_rate_hz: float) -> SourceOptions:
    """Return what parsed arguments say of the source.

    Args:
        arguments: parsed by a parser of ``add_source_arguments``.
        folder_rate_hz: of a folder of frames where ``--frame-rate`` is not given.
    """
    return SourceOptions(
        size=arguments.camera_size,
        rate_hz=arguments.camera_rate,
        flip=arguments.camera_flip,
        wait=arguments.wait_for_camera,
        realtime=arguments.realtime,
        loop=arguments.loop,
        frame_rate_hz=arguments.frame_rate,
        folder_rate_hz=folder_rate_hz,
        raw_size=arguments.raw_size,
        raw_format=arguments.raw_format,
    )


def size(text: str) -> Tuple[int, int]:
    """Argparse type: width and height in pixels, such as 640x480."""
    match = re.match(r"([0-9]{1,6})[x*]([0-9]{1,6})$", text.lower())
    sides = (int(match.group(1)), int(match.group(2))) if match else (0, 0)
    if not all(0 < side <= LARGEST_SIDE for side in sides):
        raise argparse.ArgumentTypeError(f"'{text}' is no size; give width x height as 640x480")
    return sides


class _ListCameras(argparse.Action):
    """Prints the cameras and exits, as ``--help`` does: no other flag is needed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, default=argparse.SUPPRESS, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from clipedge.jetson.camera.cameras import list_cameras

        sys.stdout.write(f"{list_cameras()}\n")
        parser.exit()

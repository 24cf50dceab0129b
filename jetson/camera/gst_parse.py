"""What GStreamer has against a pipeline: OpenCV hides it, and waits for ever on a part of one."""

import ctypes
from typing import Any, Optional

LIBRARY, GLIB = "libgstreamer-1.0.so.0", "libglib-2.0.so.0"


class _Error(ctypes.Structure):
    """GLib's GError."""

    _fields_ = (
        ("domain", ctypes.c_uint32),
        ("code", ctypes.c_int),
        ("message", ctypes.c_char_p),
    )


def problem_of(pipeline: str) -> Optional[str]:
    """Parse a pipeline without starting it.

    Args:
        pipeline: as gst-launch-1.0 takes it.

    Returns:
        What is wrong with it, in GStreamer's words, or None: nothing, or there is no GStreamer to
        ask.
    """
    try:
        gst, glib = ctypes.CDLL(LIBRARY), ctypes.CDLL(GLIB)
    except OSError:
        return None
    if not gst.gst_init_check(None, None, None):
        return None
    gst.gst_parse_launch.restype = ctypes.c_void_p
    error: Any = ctypes.POINTER(_Error)()
    parsed = gst.gst_parse_launch(pipeline.encode("utf-8", "replace"), ctypes.byref(error))
    if parsed:
        gst.gst_object_unref(ctypes.c_void_p(parsed))
    if not error:
        return None
    message: bytes = error.contents.message or b""
    glib.g_error_free(error)
    return message.decode("utf-8", "replace").strip()

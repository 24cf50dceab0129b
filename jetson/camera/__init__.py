"""Where frames come from: files, folders, cameras and streams, all as one ``Source``."""

from clipedge.jetson.camera.opencv import quiet_cv2
from clipedge.jetson.camera.opening import open_source
from clipedge.jetson.camera.source import Frame, Source, SourceStatus
from clipedge.jetson.source_options import SourceOptions

__all__ = ["Frame", "Source", "SourceOptions", "SourceStatus", "open_source", "quiet_cv2"]

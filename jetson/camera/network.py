"""Cameras in the network: RTSP, and motion JPEG over HTTP."""

import base64
import contextlib
import http.client
import re
import socket
import ssl
from typing import Any, Dict, Optional, Tuple
from urllib.parse import SplitResult, unquote, urlsplit

from clipedge.jetson.camera.capture import Device, Reader
from clipedge.jetson.camera.naming import without_passwords
from clipedge.jetson.camera.opencv import OpenCvReader, quiet_cv2
from clipedge.jetson.errors import SourceError, UsageError

PORTS = {"rtsp": 554, "http": 80, "https": 443}
# For OpenCV releases that can be told; JetPack's 4.1.1 cannot and waits 30 s.
OPEN_LIMIT_MS, READ_LIMIT_MS = 8000, 5000
PROBE_LIMIT_S = 3.0
ADVICE = "Is the camera on, and in this network?"
UNAUTHORIZED, NOT_FOUND = 401, 404
IS_VIDEO = ("multipart/", "video/", "image/", "application/octet-stream")


class NetworkCamera(Device):
    """A camera by its address, read by OpenCV's FFmpeg; RTSP goes over TCP, OpenCV's default."""

    advice = ADVICE

    def __init__(self, url: str) -> None:
        """Take an address.

        Raises:
            UsageError: it is none.
        """
        scheme, _, rest = url.partition(":")
        self._url = f"{scheme.lower()}:{rest}"  # FFmpeg knows small letters alone
        self.name = without_passwords(url)
        try:
            parts = urlsplit(url)
            named = bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            named = False
        if not named:
            # A password that holds a / hides from the rule for whole addresses.
            shown = re.sub("://.*@", "://", self.name)
            raise UsageError(
                f"'{shown}' is no address of a camera. Expected, for example, "
                "rtsp://user:password@192.168.1.20:554/stream or http://192.168.1.20:8080/video."
            )
        self._parts = parts

    def open(self) -> Reader:
        """Connect."""
        cv2 = quiet_cv2()
        capture = _open_capture(cv2, self._url)
        if capture.isOpened():
            return OpenCvReader(cv2, capture)
        capture.release()
        raise SourceError(f"{self.name}: {self._reason()}")

    def _reason(self) -> str:
        """Ask the camera why it gives no stream: OpenCV does not tell."""
        try:
            status, kind = (_ask_rtsp if self._parts.scheme == "rtsp" else _ask_http)(self._parts)
        except socket.gaierror:
            return f"there is no machine named {self._parts.hostname} in this network."
        except socket.timeout:
            return f"{self._parts.hostname} does not answer. {ADVICE}"
        except ConnectionRefusedError:
            return (
                f"{self._parts.hostname} takes no connection on port {_port(self._parts)}. "
                "Is the port right, and the camera's server running?"
            )
        except (OSError, ValueError, http.client.HTTPException) as error:
            return f"no connection ({without_passwords(str(error))}). {ADVICE}"
        if status == UNAUTHORIZED and self._parts.username is None:
            return "it wants a user and a password: give them as ://USER:PASSWORD@ in the address."
        if status == UNAUTHORIZED:
            return "user or password are not accepted."
        if status == NOT_FOUND:
            return "there is nothing at this path. See the camera's manual for the right one."
        if status != http.client.OK:
            return f"the camera answers with status {status}."
        if kind and not kind.startswith(IS_VIDEO):
            return f"that is no video but {kind}. Give the address of the stream itself."
        return "it answers, but gives no video that OpenCV can decode."


def _open_capture(cv2: Any, url: str) -> Any:
    limits = ("CAP_PROP_OPEN_TIMEOUT_MSEC", "CAP_PROP_READ_TIMEOUT_MSEC")
    if all(hasattr(cv2, name) for name in limits):
        params = [
            getattr(cv2, limits[0]), OPEN_LIMIT_MS, getattr(cv2, limits[1]), READ_LIMIT_MS
        ]  # fmt: skip
        with contextlib.suppress(TypeError, cv2.error):  # OpenCV 4.4 to 4.5.1 take none
            return cv2.VideoCapture(url, cv2.CAP_FFMPEG, params)
    return cv2.VideoCapture(url, cv2.CAP_FFMPEG)


def _port(parts: SplitResult) -> int:
    return parts.port or PORTS[parts.scheme]


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _ask_rtsp(parts: SplitResult) -> Tuple[int, str]:
    """Return the status of the stream's description; a first answer, so no password is sent."""
    host = f"{parts.hostname}:{_port(parts)}"
    request = (
        f"DESCRIBE rtsp://{host}{_target(parts)} RTSP/1.0\r\nCSeq: 1\r\n"
        "Accept: application/sdp\r\n\r\n"
    )
    address = (parts.hostname or "", _port(parts))
    with contextlib.closing(socket.create_connection(address, PROBE_LIMIT_S)) as connection:
        connection.sendall(request.encode())
        answer = connection.recv(1024).decode("latin-1")
    match = re.match(r"RTSP/1\.\d (\d{3})", answer)
    if match is None:
        raise ValueError("what answers speaks no RTSP")
    return int(match.group(1)), ""


def _ask_http(parts: SplitResult) -> Tuple[int, str]:
    """Return the status and the content type of the answer."""
    if parts.scheme == "https":
        # FFmpeg does not check certificates either; cameras sign their own.
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            parts.hostname or "",
            _port(parts),
            timeout=PROBE_LIMIT_S,
            context=ssl._create_unverified_context(),
        )
    else:
        connection = http.client.HTTPConnection(
            parts.hostname or "", _port(parts), timeout=PROBE_LIMIT_S
        )
    with contextlib.closing(connection):
        connection.request("GET", _target(parts), headers=_credentials(parts))
        answer = connection.getresponse()
        kind: Optional[str] = answer.getheader("Content-Type")
        return answer.status, (kind or "").split(";")[0].strip().lower()


def _credentials(parts: SplitResult) -> Dict[str, str]:
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}

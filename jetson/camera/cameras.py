"""The cameras of this machine, for ``--list-cameras``."""

import errno
import pathlib
import re
from typing import List

from clipedge.jetson.camera import v4l2
from clipedge.jetson.command_line import format_table

SYS, DEV = "/sys/class/video4linux", "/dev"
ARGUS_SOCKET = "/tmp/argus_socket"  # the camera service of a Jetson listens there
CSI_PREFIX = "vi-output"  # how the driver of a Jetson names CSI sensors
NOTHING = (
    "No camera found. Is it plugged in? lsusb shows USB cameras, dmesg | tail what happened to "
    "them; in a container they need --device /dev/video0."
)


def list_cameras(sys_root: str = SYS, dev_root: str = DEV, argus: str = ARGUS_SOCKET) -> str:
    """Return a table of the cameras, or what to check where there is none.

    Args:
        sys_root: where the kernel describes video devices.
        dev_root: where their nodes are.
        argus: shows by its existence that CSI cameras can be opened.
    """
    rows = []
    sensors = 0
    for folder in sorted(pathlib.Path(sys_root).glob("video[0-9]*"), key=_number):
        name = _read(folder / "name")
        if name.startswith(CSI_PREFIX):
            source = f"csi://{sensors}" if pathlib.Path(argus).exists() else folder.name
            sensors += 1
            rows.append([source, name, "", ""])
            continue
        row = _row(folder.name, name, f"{dev_root}/{folder.name}")
        if row:
            rows.append(row)
    if not rows:
        return NOTHING
    return format_table(["--source", "name", "state", "formats"], rows)


def _row(node_name: str, name: str, node: str) -> List[str]:
    """Return what is shown of a device; nothing of one that gives no pictures."""
    number = node_name[len("video") :]
    try:
        camera = v4l2.ask(node)
    except OSError as error:
        return [number, name, _reason(error), ""]
    if not camera.captures:
        return []
    problem = v4l2.problem_of(node)
    state = "free"
    if problem == errno.EBUSY:
        state = "busy: " + (", ".join(v4l2.holders(node)) or "another program")
    formats = "; ".join(f"{one.code} {' '.join(one.sizes[:8])}".strip() for one in camera.formats)
    return [number, name or camera.name, state, formats]


def _reason(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return "not allowed: sudo usermod -aG video $USER, then log in again"
    return (error.strerror or str(error)).lower()


def _number(folder: pathlib.Path) -> int:
    found = re.search("[0-9]+", folder.name)
    return int(found.group()) if found else 0


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""

"""gesture-demo --list-cameras, with the kernel's answers as bytes of its own structures."""

import errno
import os
import struct

import pytest

from clipedge.jetson.camera import v4l2
from clipedge.jetson.camera.cameras import list_cameras
from clipedge.jetson.cli import main

MJPG, YUYV = struct.unpack("<II", b"MJPGYUYV")


class Kernel:
    """Answers of the driver: one camera with two nodes, of which the second gives only facts."""

    def __init__(self, busy=False):
        self.busy = busy

    def ioctl(self, device, request, data):
        facts_only = os.readlink(f"/proc/self/fd/{device}").endswith("1")
        if request == v4l2.QUERYCAP:
            can = 0x04A00000 if facts_only else 0x04200001
            struct.pack_into("16s32s32sIII", data, 0, b"uvc", b"Cam", b"", 1, 0x84A00001, can)
        elif request == v4l2.ENUM_FMT:
            (index,) = struct.unpack_from("I", data)
            if index > 1:
                raise OSError(errno.EINVAL, "no more")
            struct.pack_into("I", data, 44, (MJPG, YUYV)[index])
        elif request == v4l2.ENUM_FRAMESIZES:
            index, code = struct.unpack_from("II", data)
            sizes = [(640, 480), (1280, 720)] if code == MJPG else [(640, 480)]
            if index >= len(sizes):
                raise OSError(errno.EINVAL, "no more")
            struct.pack_into("III", data, 8, 1, *sizes[index])
        elif self.busy:
            assert request == v4l2.REQBUFS
            raise OSError(errno.EBUSY, "busy")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """`machine(**options)` plugs the camera in; the roots of sysfs and dev are returned."""
    fcntl = pytest.importorskip("fcntl", reason="not a Unix")

    def plug(**options):
        monkeypatch.setattr(fcntl, "ioctl", Kernel(**options).ioctl)
        for name in ("video0", "video1"):
            (tmp_path / "sys" / name).mkdir(parents=True)
            (tmp_path / "sys" / name / "name").write_text("HD Webcam: HD Webcam\n")
            (tmp_path / "dev").mkdir(exist_ok=True)
            (tmp_path / "dev" / name).write_bytes(b"")
        return str(tmp_path / "sys"), str(tmp_path / "dev")

    return plug


def test_a_camera_is_listed_once_with_what_it_can_do(machine):
    listed = list_cameras(*machine())
    (line,) = listed.splitlines()[2:]
    assert line.split()[:3] == ["0", "HD", "Webcam:"]
    assert "free" in line
    assert "MJPG 640x480 1280x720; YUYV 640x480" in line


def test_a_busy_camera_is_listed_as_busy(machine):
    assert "busy: " in list_cameras(*machine(busy=True))


def test_who_holds_a_camera_is_named(tmp_path):
    node = tmp_path / "video0"
    node.write_bytes(b"")
    (tmp_path / "proc" / "12" / "fd").mkdir(parents=True)
    (tmp_path / "proc" / "12" / "comm").write_text("vlc\n")
    (tmp_path / "proc" / "12" / "fd" / "3").symlink_to(node)
    (tmp_path / "proc" / "13").mkdir()  # of another user: its files are not shown
    assert v4l2.holders(str(node), str(tmp_path / "proc")) == ["vlc (pid 12)"]
    with node.open("rb"):  # by this process, of the real machine
        assert v4l2.holders(str(node)) == []


def test_why_a_camera_cannot_be_used_is_known(machine):
    _, dev = machine(busy=True)
    assert v4l2.problem_of(dev + "/video0") == errno.EBUSY
    assert v4l2.problem_of(dev + "/video7") == errno.ENOENT


def test_a_camera_that_may_not_be_opened_is_listed_with_what_to_do(machine, monkeypatch):
    roots = machine()

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(v4l2.os, "open", refuse)
    assert "usermod -aG video" in list_cameras(*roots)


def test_csi_sensors_are_named_as_sources_where_the_camera_service_runs(tmp_path):
    (tmp_path / "sys" / "video0").mkdir(parents=True)
    (tmp_path / "sys" / "video0" / "name").write_text("vi-output, ov5693 2-0036\n")
    (tmp_path / "argus").write_bytes(b"")
    listed = list_cameras(str(tmp_path / "sys"), "/dev", str(tmp_path / "argus"))
    assert listed.splitlines()[2].split()[:2] == ["csi://0", "vi-output,"]


def test_without_a_camera_it_says_what_to_check(tmp_path):
    assert "lsusb" in list_cameras(str(tmp_path))


def test_the_command_lists_cameras_without_any_other_flag(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--list-cameras"])
    assert not ended.value.code
    assert capsys.readouterr().out

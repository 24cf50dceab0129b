import os
import pathlib

import pytest

from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.files import make_folder, whole_file, write_set, write_whole


def test_a_file_is_written_with_its_folder(tmp_path):
    path = write_whole(tmp_path / "new" / "a.json", "content")
    assert path.read_text() == "content"
    assert os.listdir(str(path.parent)) == ["a.json"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.onnx"
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), whole_file(target) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert target.read_bytes() == b"old"
    assert os.listdir(str(tmp_path)) == ["a.onnx"]


def test_the_file_is_as_readable_as_any_other(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("x")
    ours = write_whole(tmp_path / "ours", "x")
    assert oct(ours.stat().st_mode) == oct(plain.stat().st_mode)


@pytest.mark.skipif(not pathlib.Path("/proc/self").exists(), reason="there is no /proc here")
def test_a_folder_that_takes_no_files_is_told():
    with pytest.raises(ClipedgeError, match=r"/proc/x\.mp4: no file can be made in this folder"):
        write_whole("/proc/x.mp4", b"")


def test_a_set_appears_whole_or_not_at_all(tmp_path):
    good = tmp_path / "a.onnx"
    bad = tmp_path / "a.onnx" / "inside.json"  # a.onnx is meant to be a file
    good.write_bytes(b"old")
    with pytest.raises(ClipedgeError):
        write_set([(good, b"new"), (bad, b"new")])
    assert good.read_bytes() == b"old"
    assert os.listdir(str(tmp_path)) == ["a.onnx"]


def test_a_set_with_a_name_that_is_taken_writes_none_of_it(tmp_path):
    (tmp_path / "a.onnx").mkdir()
    with pytest.raises(ClipedgeError, match="it is a folder"):
        write_set([(tmp_path / "a.onnx", b"1"), (tmp_path / "a.spec.json", b"2")])
    assert os.listdir(str(tmp_path)) == ["a.onnx"]


def test_a_device_is_not_replaced():
    with pytest.raises(ClipedgeError, match="/dev/null: it is not a regular file"):
        write_whole("/dev/null", "x")
    assert not pathlib.Path("/dev/null").is_file()


def test_through_a_link_the_file_behind_it_is_written(tmp_path):
    (tmp_path / "behind.json").write_text("old")
    (tmp_path / "link.json").symlink_to("behind.json")
    write_whole(tmp_path / "link.json", "new")
    assert (tmp_path / "behind.json").read_text() == "new"
    assert (tmp_path / "link.json").is_symlink()


def test_an_error_about_something_else_is_passed_on(tmp_path):
    with pytest.raises(BrokenPipeError), whole_file(tmp_path / "a.mp4"):
        raise BrokenPipeError(32, "Broken pipe")
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "a.mp4"):
        pathlib.Path("/none/such").read_bytes()


def test_the_main_file_of_a_set_appears_last(tmp_path, monkeypatch):
    order = []
    replace = pathlib.Path.replace
    monkeypatch.setattr(
        pathlib.Path, "replace", lambda self, to: (order.append(to.name), replace(self, to))[1]
    )
    write_set([(tmp_path / "a.onnx", b"1"), (tmp_path / "a.spec.json", b"2")])
    assert order == ["a.spec.json", "a.onnx"]


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(ClipedgeError, match="it is a file; a folder is needed"):
        make_folder(tmp_path / "out")


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")
    with pytest.raises(ClipedgeError, match="the disk is full"), whole_file(
        tmp_path / "a.bin"
    ), open("/dev/full", "wb") as full:
        full.write(b"x" * 100000)
    assert os.listdir(str(tmp_path)) == []

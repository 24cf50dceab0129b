import contextlib
import json
import os
import re
import threading

import pytest
from stand_ins.small_disk import disk_of

from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.live import Step
from clipedge.jetson.outputs import Outputs
from clipedge.jetson.outputs.event_lines import EventLines

resource = pytest.importorskip("resource", reason="file sizes cannot be limited on this system")


def step(number, label="wave", wall_time_s=None):
    event = GestureEvent(number, label, 0.9, 5.0, frame=number, wall_time_s=wall_time_s)
    return Step(None, None, event, 5.0)


NOTHING = Step(None, None, None, None)


def numbers(text):
    return [json.loads(line)["frame"] for line in text.splitlines()]


def test_a_line_is_in_the_file_before_the_next_step(tmp_path, capsys):
    path = tmp_path / "new" / "events.jsonl"
    with EventLines(path) as lines:
        for number in range(3):
            lines.add(step(number))
            lines.add(NOTHING)
            assert numbers(path.read_text()) == list(range(number + 1))
    out = capsys.readouterr().out
    assert out.splitlines() == [f"    {number}.00 s  wave  0.90" for number in range(3)]


def test_without_a_file_the_lines_go_to_stdout(capsys):
    with EventLines() as lines:
        lines.add(step(7))
        assert numbers(capsys.readouterr().out) == [7]


def test_people_read_the_time_of_day_of_a_camera_and_no_control_letters(tmp_path, capsys):
    with EventLines(tmp_path / "e.jsonl") as lines:
        lines.add(step(123456, "a\x1b[2Jb", wall_time_s=1.7e9))
    assert re.match(r"^\d\d:\d\d:\d\d  a\?\[2Jb  0.90\n$", capsys.readouterr().out)


def test_the_file_of_before_is_emptied_and_one_that_is_emptied_meanwhile_gets_no_hole(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text("of before\n")
    with EventLines(path) as lines:
        lines.add(step(1))
        with path.open("w"):  # as logrotate's copytruncate does
            pass
        lines.add(step(2))
    assert numbers(path.read_text()) == [2]


def test_on_a_full_disk_every_event_is_told_on_stdout_and_the_run_counts_as_failed(
    tmp_path, capsys, caplog
):
    caplog.set_level("INFO")
    path = tmp_path / "events.jsonl"
    with Outputs([EventLines(path)]) as outputs:
        outputs.add(step(0))
        with disk_of(path.stat().st_size + 20):
            outputs.add(step(1))
            outputs.add(step(2))
        assert numbers(path.read_text()) == [0]  # no half line
        outputs.add(step(3))
    assert numbers(path.read_text()) == [0, 3]
    out = capsys.readouterr().out.splitlines()
    assert numbers("\n".join(out[1:3])) == [1, 2]
    assert outputs.failed
    assert "It lacks 2 events, which went to standard output" in caplog.text
    assert caplog.text.count("Events go to standard output instead") == 1
    assert "takes events again" in caplog.text


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_where_stdout_is_full_too_every_event_is_told_on_stderr(monkeypatch, caplog):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        lines = EventLines("/dev/full")
        lines.add(step(1))
        lines.add(step(2))
        with pytest.raises(ClipedgeError, match=r"the disk is full.*2 events.*standard error"):
            lines.close()
        lines.close()
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()
    told = [record.getMessage() for record in caplog.records]
    assert numbers("\n".join(line for line in told if line.startswith("{"))) == [1, 2]


def test_while_a_named_pipe_has_no_reader_events_go_to_stdout(tmp_path, capsys):
    path = tmp_path / "pipe"
    os.mkfifo(str(path))
    readers = []
    opener = threading.Thread(target=lambda: readers.append(open(str(path))))  # noqa: SIM115
    opener.start()
    lines = EventLines(path)
    opener.join(20)
    lines.add(step(1))
    assert numbers(readers[0].readline()) == [1]
    readers[0].close()
    capsys.readouterr()
    lines.add(step(2))
    assert numbers(capsys.readouterr().out) == [2]
    with open(str(path)) as reader:
        lines.add(step(3))
        assert numbers(reader.readline()) == [3]
    with pytest.raises(ClipedgeError, match="lacks 1 event"):
        lines.close()


def test_a_reader_of_stdout_that_goes_away_ends_the_run(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        with pytest.raises(BrokenPipeError):
            EventLines().add(step(1))
        monkeypatch.undo()
        with contextlib.suppress(BrokenPipeError):
            stdout.close()


def test_a_place_that_cannot_be_written_is_told_at_once(tmp_path):
    with pytest.raises(ClipedgeError, match="it is a folder"):
        EventLines(tmp_path)

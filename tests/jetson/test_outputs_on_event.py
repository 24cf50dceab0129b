import os
import time

import pytest

from clipedge.jetson.errors import UsageError
from clipedge.jetson.events import EARLY, GestureEvent
from clipedge.jetson.live import Step
from clipedge.jetson.outputs import on_event
from clipedge.jetson.outputs.on_event import OnEvent

NOTHING = Step(None, None, None, None)
PATIENCE_S = 30


def step(time_s, label="wave"):
    return Step(None, None, GestureEvent(time_s, label, 0.91234, 5.0, EARLY, 37), 5.0)


@pytest.fixture
def script(tmp_path):
    """Writes a program; its first argument is a file beside it, unless the test says otherwise."""

    def write(body, name="program"):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def telling(script, tmp_path):
    """A program that appends its arguments to a file, and a function that reads them."""
    path = script(f'printf "%s\\0" "$@" >> {tmp_path}/told')

    def told():
        text = (tmp_path / "told").read_bytes() if (tmp_path / "told").exists() else b""
        return text.decode("utf-8").split("\0")[:-1]

    return path, told


def wait_until(condition, output=None):
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "it took too long"
        if output is not None:
            output.add(NOTHING)
        time.sleep(0.01)


def test_placeholders_are_filled_inside_arguments(telling):
    path, told = telling
    with OnEvent(
        f"{path} 'a {{label}} b' --at={{time_s}} {{score}}/{{kind}} {{frame}} {{}}"
    ) as out:
        out.add(step(1.23456))
    assert told() == ["a wave b", "--at=1.235", "0.9123/early", "37", "{}"]


@pytest.mark.parametrize(
    "label",
    [
        "; rm -rf /",
        "--help",
        "$(id)",
        "`id`",
        "a b",
        "'",
        '"',
        "",
        "*",
        "{score}",
        "h\u00e9",
        "a\nb",
    ],
)
def test_a_label_stays_one_argument_whatever_it_says(telling, label):
    path, told = telling
    with OnEvent(f"{path} x{{label}} {{label}} end") as out:
        out.add(step(1.0, label))
    assert told() == ["x" + label, label, "end"]


def test_what_no_argument_can_hold_is_left_out_of_the_label(telling):
    path, told = telling
    with OnEvent(f"{path} {{label}}") as out:
        out.add(step(1.0, "a\0b\ud800"))
    assert told() == ["ab?"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "it is empty|is empty"),
        ("echo 'a", "No closing quotation"),
        ("echo {lable}", "unknown placeholder {lable}; did you mean label"),
        ("echo {0}", "unknown placeholder"),
        ("no-such-program-anywhere {label}", "no program 'no-such-program-anywhere'"),
        ("{label} a", "the program is the same for all gestures"),
        ("sh -c 'echo {label}'", "Hand it over as an argument"),
        ("/bin/bash -ec 'say {label}'", "Hand it over as an argument"),
        ("env A=b sh -x -c 'echo {label}'", "Hand it over as an argument"),
        ("sh -ce 'echo {label}'", "Hand it over as an argument"),
        ("bash -c -x 'echo {label}'", "Hand it over as an argument"),
        ("python3 -c 'print(\"{label}\")'", "Hand it over as an argument"),
    ],
)
def test_a_wrong_command_is_told_before_the_run(command, message):
    with pytest.raises(UsageError, match=message):
        OnEvent(command)


@pytest.mark.parametrize("word", [">", ">>", "2>&1", ">/dev/null", "<", "|", "||", "&", "&&", ";"])
def test_what_only_a_shell_understands_is_told_before_the_run(word):
    with pytest.raises(UsageError, match=r"no shell is used.*sh -c '"):
        OnEvent(f"echo {{label}} {word} cat")
    OnEvent(f"sh -c 'echo {word} cat'")
    OnEvent(f"echo {word}{word}a <b>{{label}}</b>")


def test_a_shell_gets_the_label_as_an_argument(tmp_path):
    with OnEvent(f"sh -c 'printf %s \"$1\" > {tmp_path}/out' sh {{label}}") as out:
        out.add(step(1.0, "$(id)"))
    assert (tmp_path / "out").read_text() == "$(id)"


def test_events_that_follow_too_soon_are_skipped_and_counted(telling, caplog):
    caplog.set_level("INFO")
    path, told = telling
    with OnEvent(f"{path} {{time_s}}", every_s=0.5, at_once=9) as out:
        for time_s in (1.0, 1.4, 1.5, 1.9, 2.0, 0.0):  # the last: the source began anew
            out.add(step(time_s))
    assert sorted(told()) == ["0.000", "1.000", "1.500", "2.000"]
    assert "started 4 times, 2 skipped within 0.5 s" in caplog.text


def test_no_more_than_so_many_run_at_once(script, tmp_path, caplog):
    caplog.set_level("INFO")
    path = script(f"while ! test -e {tmp_path}/go; do sleep 0.05; done")
    out = OnEvent(str(path), every_s=0.0, at_once=2)
    for time_s in range(5):
        out.add(step(time_s))
    assert len(out._running) == 2
    (tmp_path / "go").write_text("")
    wait_until(lambda: not out._running, out)  # they are reaped by steps without events
    out.add(step(9.0))
    out.close()
    assert "started 3 times, 3 skipped as 2 were running" in caplog.text


def test_starting_a_command_does_not_wait_for_it(script, tmp_path):
    path = script(f"while ! test -e {tmp_path}/go; do sleep 0.05; done")
    out = OnEvent(str(path))
    began_s = time.monotonic()
    out.add(step(1.0))
    assert time.monotonic() - began_s < on_event.GRACE_S
    assert out._running[0].poll() is None
    (tmp_path / "go").write_text("")
    out.close()


def test_a_command_that_fails_is_said_once_and_counted(script, caplog):
    caplog.set_level("INFO")
    out = OnEvent(str(script("exit 3")), every_s=0.0)
    for time_s in range(3):
        out.add(step(time_s))
        wait_until(lambda: not out._running, out)
    out.close()
    assert caplog.text.count("exit status 3") == 1
    assert "started 3 times, 3 failed" in caplog.text


def test_a_program_that_vanishes_is_a_failure_and_no_end(script, caplog):
    path = script("true")
    with OnEvent(str(path), every_s=0.0) as out:
        path.unlink()
        out.add(step(1.0))
    assert "No such file" in caplog.text


def test_what_still_runs_at_the_end_is_ended_with_its_children(
    script, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(on_event, "GRACE_S", 0.05)
    monkeypatch.setattr(on_event, "TERM_S", 0.3)
    body = f"trap '' TERM\nsh -c 'trap \"\" TERM; echo $$ > {tmp_path}/child; exec sleep 600'"
    out = OnEvent(str(script(body)))
    out.add(step(1.0))
    wait_until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text().strip())
    began_s = time.monotonic()
    out.close()
    assert time.monotonic() - began_s < PATIENCE_S
    assert not out._running
    assert "1 still run; they get SIGTERM" in caplog.text and "SIGKILL" in caplog.text
    assert "failed" not in caplog.text
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not alive(child))


def test_a_command_that_ends_when_asked_is_asked_first(script, tmp_path, monkeypatch):
    monkeypatch.setattr(on_event, "GRACE_S", 0.05)
    monkeypatch.setattr(on_event, "TERM_S", PATIENCE_S)
    body = f"trap 'echo asked > {tmp_path}/asked; exit 0' TERM\necho > {tmp_path}/up\n"
    out = OnEvent(str(script(body + "while true; do sleep 0.05; done")))
    out.add(step(1.0))
    wait_until((tmp_path / "up").exists)
    out.close()
    assert (tmp_path / "asked").read_text() == "asked\n"


def test_a_command_of_another_user_is_left_alone(script, monkeypatch, caplog):
    caplog.set_level("INFO")

    def refuse(pid, number):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(on_event, "GRACE_S", 0.0)
    monkeypatch.setattr(on_event, "TERM_S", 0.05)
    out = OnEvent(str(script("exec sleep 600")))
    out.add(step(1.0))
    (process,) = out._running
    with monkeypatch.context() as patched:
        patched.setattr(os, "killpg", refuse)
        out.close()
    process.kill()
    process.wait()
    assert "1 still run; they get SIGKILL" in caplog.text


def test_what_a_command_prints_is_not_on_stdout(script, capfd):
    with OnEvent(str(script("echo printed"))) as out:
        out.add(step(1.0))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "printed\n")


def test_ctrl_c_does_not_reach_the_command(script, tmp_path):
    path = script(f"echo > {tmp_path}/up\nwhile ! test -e {tmp_path}/go; do sleep 0.05; done")
    out = OnEvent(str(path))
    out.add(step(1.0))
    wait_until((tmp_path / "up").exists)
    assert os.getpgid(out._running[0].pid) != os.getpgid(0)
    (tmp_path / "go").write_text("")
    out.close()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:  # killed, and nobody waits for it
        return stat.read().rpartition(")")[2].split()[0] != "Z"

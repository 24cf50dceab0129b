"""What the five commands share, tried on a small command in a process of its own."""

import io
import logging
import os
import signal
import subprocess
import sys
import time

import pytest

from clipedge.jetson import command_line
from clipedge.jetson.command_line import nearest
from clipedge.jetson.errors import UsageError
from clipedge.jetson.progress import ProgressLine

PROGRAM = """
import sys, time
from clipedge.jetson.command_line import CommandParser, run_command
from clipedge.jetson.errors import ClipedgeError, UsageError

def build_parser():
    parser = CommandParser(prog="try", description="A command to try.")
    parser.add_argument("--count", type=int, default=3, help="how many")
    parser.add_argument("--silent", help="has no default")
    parser.add_argument("what", choices=["print", "fail", "misuse", "sleep", "crash", "swallow"])
    return parser

def command(arguments):
    if arguments.what == "print":
        for _ in range(arguments.count):
            print("w\\u00e4ve")
    elif arguments.what == "fail":
        raise ClipedgeError("the disk ran away")
    elif arguments.what == "misuse":
        raise UsageError("not like this")
    elif arguments.what == "sleep":
        print("ready", flush=True)
        time.sleep(30)
    elif arguments.what == "swallow":
        print("ready", flush=True)
        try:
            time.sleep(30)
        except KeyboardInterrupt:
            raise SystemError("initialization of a library raised an unreported exception")
    else:
        raise RuntimeError("a mistake of ours")
    return 0

sys.exit(run_command(build_parser, command))
"""


def start(*arguments, **options):
    environment = dict(os.environ, LC_ALL="C")
    environment.pop("PYTHONUNBUFFERED", None)  # it would hide what happens to buffered output
    environment.pop("PYTHONIOENCODING", None)
    environment.pop("PYTHONUTF8", None)
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        env=environment,
        **options,
    )


def run(*arguments, **options):
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=30)
    return process.returncode, (out or b"").decode(), err.decode()


def test_the_status_tells_done_failed_and_wrong_call():
    assert run("print")[0] == 0
    assert run("fail") == (1, "", "try: the disk ran away\n")
    assert run("misuse") == (2, "", "try: not like this\n")


def test_a_wrong_argument_is_told_in_one_line():
    status, _, err = run("--count", "x", "print")
    assert status == 2
    assert err == "try: argument --count: invalid int value: 'x'. See try --help.\n"


@pytest.mark.parametrize("rest", [["print"], []])
def test_the_nearest_option_is_suggested_also_where_something_is_missing(rest):
    told = "try: There is no option --cuont; did you mean --count? See try --help.\n"
    assert run("--cuont=4", *rest) == (2, "", told)
    assert run("--sil", "x", "print")[0] == 0  # the beginning of one is enough
    assert "no option --zzz. See" in run("--zzz", *rest)[2]


def test_a_subcommand_suggests_its_own_options():
    parser = command_line.CommandParser(prog="try")
    parser.add_subparsers().add_parser("part").add_argument("--width")
    with pytest.raises(UsageError, match=r"did you mean --width\? See try part --help"):
        parser.parse_args(["part", "--widht", "2"])


def test_help_shows_the_defaults_that_say_something():
    status, out, _ = run("--help")
    assert status == 0
    assert "how many (default: 3)" in out
    assert "has no default\n" in out


def test_a_mistake_of_ours_shows_its_traceback():
    status, _, err = run("crash")
    assert status == 1
    assert "Traceback" in err


def test_letters_that_the_terminal_lacks_do_not_fail():
    status, out, err = run("print")
    assert (status, err) == (0, "")
    assert out.startswith("w")


@pytest.mark.parametrize("count", ["3", "100000"])  # one buffer, and many
def test_a_reader_that_goes_away_is_no_error(count):
    process = start("--count", count, "print")
    process.stdout.close()
    err = process.stderr.read()
    process.wait(30)
    process.stderr.close()
    assert err == b""
    assert process.returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_full_disk_behind_stdout_is_told():
    with open("/dev/full", "w") as full:
        status, _, err = run("print", stdout=full)
    assert status == 1
    assert err.startswith("try: standard output: the disk is full; ")
    assert len(err.splitlines()) == 1


def test_a_closed_stdout_is_no_crash():
    status, _, err = run("print", preexec_fn=lambda: os.close(1))
    assert (status, err) == (0, "")


def test_on_a_terminal_the_log_does_not_stand_behind_a_line_that_redraws_itself(monkeypatch):
    terminal, ours = io.StringIO(), logging.getLogger("clipedge")
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(ours, "handlers", [])
    monkeypatch.setattr(ours, "level", logging.NOTSET)
    command_line._talk_on_stderr()
    ProgressLine("").show("24 frames/s")
    logging.getLogger("clipedge.test").warning("camera 0 is lost")
    assert terminal.getvalue() == "\r\x1b[K24 frames/s\r\x1b[Kcamera 0 is lost\n"


def test_a_closed_stderr_is_no_crash():
    assert run("--wrong", preexec_fn=lambda: os.close(2))[0] == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("what", ["sleep", "swallow"])
def test_an_interrupt_ends_in_one_line_whatever_a_library_makes_of_it(number, what):
    process = start(what)
    assert process.stdout.readline().strip() == b"ready"
    time.sleep(0.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 1
    assert err == b"try: interrupted; no file is left half-written.\n"


def test_the_nearest_name_is_suggested():
    known = ["shufflenetv1", "squeezenet"]
    assert nearest("shuflenetv1", known).startswith("did you mean shufflenetv1")
    assert nearest("x", known) == "known: shufflenetv1, squeezenet."

"""What is wrong with a call of gesture-demo, before a model is opened or a file touched."""

import argparse
import os
import pathlib

from clipedge.jetson.camera.opening import check_source
from clipedge.jetson.errors import UsageError
from clipedge.jetson.recogniser_settings import read_settings
from clipedge.jetson.source_options import DEFAULT_RATE_HZ, source_options


def check_call(arguments: argparse.Namespace) -> None:
    """Refuse what cannot be meant.

    Raises:
        ClipedgeError: says what, and what to do.
    """
    _check_flags(arguments)
    _check_names(arguments)
    _check_outputs(arguments)
    if arguments.recogniser is not None:
        read_settings(pathlib.Path(arguments.recogniser))


def _check_flags(arguments: argparse.Namespace) -> None:
    """Refuse flags that could have no effect."""
    if (arguments.source is None) == (arguments.replay is None):
        raise UsageError("Give one of --source and --replay. See gesture-demo --help.")
    if arguments.display != "web" and (arguments.web or arguments.token):
        raise UsageError("--web and --token are for --display web.")
    if arguments.on_event is None and arguments.on_event_every is not None:
        raise UsageError("--on-event-every is for --on-event.")
    if arguments.replay is not None and arguments.save_clips is not None:
        raise UsageError(
            "--save-clips is for --source: a session holds the small pictures that the model sees."
        )
    options = source_options(arguments, DEFAULT_RATE_HZ)
    if arguments.source is not None:
        check_source(arguments.source, options)
        return
    for flag in options.given().values():
        if flag != "--realtime":
            raise UsageError(f"{flag} is for --source; --replay repeats a session as it was.")


def _check_names(arguments: argparse.Namespace) -> None:
    """Refuse files that would be read and written, or used for two things."""
    inputs = [arguments.model, arguments.source, arguments.replay, arguments.truth,
              arguments.recogniser, arguments.detector]  # fmt: skip
    written = [("--events", arguments.events), ("--record", arguments.record),
               ("--save-session", arguments.save_session)]  # fmt: skip
    for flag, name in written:
        for other in inputs:
            if name and other and os.path.realpath(name) == os.path.realpath(other):
                raise UsageError(f"{flag} {name} would overwrite an input; choose another name.")
    names = [os.path.realpath(name) for _, name in written if name]
    if len(set(names)) < len(names):
        raise UsageError("Two outputs have the same name; choose another for one of them.")
    same = os.path.realpath(arguments.detector or "") == os.path.realpath(arguments.model)
    if arguments.detector and same:
        raise UsageError("--detector is the same file as --model; give it a smaller model.")
    for flag in ("detector", "recogniser", "truth"):
        name = getattr(arguments, flag)
        if name is not None and not pathlib.Path(name).exists():
            raise UsageError(f"--{flag} {name}: there is no such file.")


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Look at what is read anew, and acted on, when the outputs are opened."""
    if arguments.display == "web" and arguments.web:
        from clipedge.jetson.display.web_address import parse_address

        parse_address(arguments.web)
    if arguments.record is not None:
        from clipedge.jetson.outputs.recorder import check_name

        check_name(arguments.record)
    if arguments.on_event is not None:
        from clipedge.jetson.outputs.on_event import OnEvent

        OnEvent(arguments.on_event)
    if arguments.mqtt is not None:
        from clipedge.jetson.outputs.mqtt import parse_url

        parse_url(arguments.mqtt)

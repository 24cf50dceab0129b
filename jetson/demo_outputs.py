"""The outputs that the flags of gesture-demo ask for."""

import argparse
import contextlib
import logging
import sys
from typing import Optional

from clipedge.jetson.camera import Source
from clipedge.jetson.camera.capture import Capture
from clipedge.jetson.camera.opening import STANDARD_INPUT
from clipedge.jetson.cli import DEFAULT_EVERY_S
from clipedge.jetson.display.scoreboard import RunFacts, Scoreboard
from clipedge.jetson.display.status_line import StatusLine
from clipedge.jetson.display.web_address import DEFAULT_ADDRESS
from clipedge.jetson.outputs import Output, Outputs
from clipedge.jetson.outputs.event_lines import EventLines
from clipedge.jetson.outputs.session import SessionFacts
from clipedge.jetson.runners import Runner

log = logging.getLogger(__name__)


def open_outputs(
    stack: contextlib.ExitStack,
    arguments: argparse.Namespace,
    runner: Runner,
    source: Source,
    facts: Optional[SessionFacts],
) -> Outputs:
    """Open what is asked for; ``stack`` closes it, also where a later one cannot be opened.

    Raises:
        UsageError: a flag makes no sense here.
        ClipedgeError: a file cannot be written.
    """
    outputs = stack.enter_context(Outputs())
    spec = runner.spec
    if arguments.record is not None:
        from clipedge.jetson.outputs.recorder import Recorder

        outputs.include(Recorder(arguments.record, spec.labels, lambda: source.status))
    if arguments.on_event is not None:
        from clipedge.jetson.outputs.on_event import OnEvent

        every_s = arguments.on_event_every
        every_s = DEFAULT_EVERY_S if every_s is None else every_s
        outputs.include(OnEvent(arguments.on_event, every_s))
    if arguments.mqtt is not None:
        from clipedge.jetson.outputs.mqtt import Mqtt

        outputs.include(Mqtt(arguments.mqtt))
    if arguments.save_clips is not None:
        from clipedge.jetson.outputs.clip_saver import ClipSaver

        outputs.include(ClipSaver(arguments.save_clips, spec, live=source.endless))
    scoreboard = Scoreboard(spec.labels, lambda: source.status)
    if arguments.display != "none":
        outputs.include(scoreboard)
        outputs.include(_open_display(stack, scoreboard, arguments, run_facts(runner, source)))
    # What empties a file of before is opened last: until here the call may be refused.
    if arguments.save_session is not None:
        from clipedge.jetson.outputs.session import SessionWriter

        assert facts is not None
        outputs.include(SessionWriter(arguments.save_session, facts))
    # First to get an event, whatever else fails.
    outputs.include(EventLines(arguments.events), first=True)
    if sys.stderr is not None and sys.stderr.isatty():
        if arguments.display == "none":
            outputs.include(scoreboard)
        # It makes room on the terminal before an event is written there.
        outputs.include(StatusLine(scoreboard), first=True)
    return outputs


def _open_display(
    stack: contextlib.ExitStack,
    scoreboard: Scoreboard,
    arguments: argparse.Namespace,
    facts: RunFacts,
) -> Output:
    from clipedge.jetson.sensors import SensorWatch

    sensors = stack.enter_context(SensorWatch())
    if arguments.display == "window":
        from clipedge.jetson.display.window import WindowDisplay

        return WindowDisplay(scoreboard, facts, sensors.latest)
    from clipedge.jetson.display.web import WebDisplay

    address = arguments.web or DEFAULT_ADDRESS
    page = WebDisplay(scoreboard, facts, address, arguments.token, sensors.latest)
    # A token that the user chose stays out of the log; one that was made is told here alone.
    url = page.url if arguments.token is None else page.url.split("?")[0]
    once = facts.playing and not arguments.loop and arguments.source not in (None, STANDARD_INPUT)
    log.info("The page is at %s%s", url, " (--loop plays the file again)" if once else "")
    return page


def run_facts(runner: Runner, source: Source) -> RunFacts:
    """Return what displays say of the run."""
    spec, about = runner.spec, runner.describe()
    return RunFacts(
        model=spec.file_stem,
        clip=f"{spec.frames} frames in {spec.span_s:.1f} s, {spec.size} x {spec.size} pixels",
        backend="{backend} {version}, {device}, {precision}".format(**about),
        source=source.name,
        labels=spec.labels,
        span_s=spec.span_s,
        playing=not isinstance(source, Capture),
    )

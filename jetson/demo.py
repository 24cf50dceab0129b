"""What gesture-demo does: runs the live path and hands events to file, screen and recording."""

import argparse
import contextlib
import logging
import os
import pathlib
import sys
from typing import IO, Iterator, List, Optional, Sequence

from clipedge.jetson.camera import Source, open_source
from clipedge.jetson.command_line import DONE, FAILED, format_table
from clipedge.jetson.errors import SourceError, UsageError
from clipedge.jetson.events import GestureEvent
from clipedge.jetson.files import make_folder, plain_path, readable_os_error
from clipedge.jetson.live import recognise
from clipedge.jetson.outputs import Output, Outputs
from clipedge.jetson.outputs.recorder import Recorder
from clipedge.jetson.recogniser import Recogniser
from clipedge.jetson.recogniser_settings import load_settings
from clipedge.jetson.runners import open_runner
from clipedge.jetson.source_options import source_options
from clipedge.jetson.spec import RANDOM_WEIGHTS
from clipedge.jetson.summary import Summary
from clipedge.jetson.truth import Score, TrueGesture, load_truth, score_events

log = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> int:
    """Run gesture-demo with parsed arguments; return its exit status."""
    truth = load_truth(arguments.truth) if arguments.truth else None
    _check_outputs(arguments)
    with contextlib.ExitStack() as stack:
        runner = stack.enter_context(
            open_runner(arguments.model, arguments.backend, threads=arguments.threads)
        )
        spec = runner.spec
        if spec.dataset == RANDOM_WEIGHTS:
            log.warning("%s has random weights: what it recognises means nothing.", arguments.model)
        source = stack.enter_context(
            open_source(arguments.source, source_options(arguments, spec.frame_rate_hz))
        )
        events_out = stack.enter_context(_events_file(arguments.events))
        outputs = stack.enter_context(Outputs(list(_outputs(arguments, spec.labels, source))))
        unknown = sorted({one.label for one in truth or ()} - set(spec.labels))
        if unknown:
            log.warning("The model has no label '%s', which --truth names.", "', '".join(unknown))
        settings = load_settings(arguments.model, spec.labels)
        if arguments.threshold is not None:
            settings = settings._replace(threshold=arguments.threshold)
        recogniser = Recogniser(spec.labels, settings)
        summary = Summary(keep_events=True)
        try:
            for step in recognise(source, runner, recogniser, 1.0 / arguments.rate):
                summary.add(step)
                if step.event is not None:
                    _report(step.event, events_out, arguments.events)
                outputs.add(step)
        except (KeyboardInterrupt, SourceError) as end:
            # Of a camera, Ctrl-C or a pulled cable is the end: what was recorded is kept.
            if not source.endless or not summary.frames:
                raise
            log.info("%s", end if isinstance(end, SourceError) else "stopped")
        if not summary.clips:
            log.warning(
                "%s is shorter than the %.1f s of one clip: nothing was scored.",
                arguments.source,
                spec.span_s,
            )
    _conclude(summary, truth, sys.stderr if arguments.events is None else sys.stdout)
    return FAILED if outputs.failed else DONE


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse output names that cannot be meant, before any file is touched."""
    if arguments.record is not None:
        plain_path(arguments.record)
        if pathlib.Path(arguments.record).suffix.lower() != ".mp4":
            raise UsageError(f"--record {arguments.record}: give a file name that ends in .mp4.")
    inputs = [arguments.model, arguments.source, arguments.truth]
    for flag, name in (("--events", arguments.events), ("--record", arguments.record)):
        for other in inputs:
            if name and other and os.path.realpath(name) == os.path.realpath(other):
                raise UsageError(f"{flag} {name} would overwrite an input; choose another name.")


def _outputs(
    arguments: argparse.Namespace, labels: Sequence[str], source: Source
) -> Iterator[Output]:
    if arguments.record is not None:
        yield Recorder(arguments.record, labels, lambda: source.status)


def _report(event: GestureEvent, events_out: IO[str], path: Optional[str]) -> None:
    try:
        events_out.write(event.to_json() + "\n")
        events_out.flush()  # a reader at the other end of a pipe acts on it now
    except BrokenPipeError:
        raise
    except OSError as error:
        raise readable_os_error(error, path or "standard output") from None
    if path is not None:
        sys.stdout.write(f"{event.time_s:8.2f} s  {event.label}  {event.score:.2f}\n")


def _conclude(summary: Summary, truth: Optional[List[TrueGesture]], out: IO[str]) -> None:
    if truth is not None:
        out.write(_truth_table(score_events(truth, summary.events)) + "\n")
    out.write(f"{summary}\n")


def _truth_table(score: Score) -> str:
    rows = [
        [
            match.truth.label,
            f"{match.truth.start_s:.1f}-{match.truth.end_s:.1f}",
            match.event.label if match.event else "-",
            f"{match.event.time_s:.1f}" if match.event else "-",
            "yes" if match.right else "NO",
        ]
        for match in score.matches
    ]
    rows += [["-", "-", event.label, f"{event.time_s:.1f}", "extra"] for event in score.extra]
    table = format_table(["true gesture", "from-to s", "recognised", "at s", "right"], rows)
    return (
        f"{table}\n{score.right} of {len(score.matches)} gestures recognised, "
        f"{len(score.extra)} events that belong to none"
    )


@contextlib.contextmanager
def _events_file(path: Optional[str]) -> Iterator[IO[str]]:
    """Open the file of events, or hand out stdout. It grows line by line, as events happen."""
    if path is None:
        yield sys.stdout
        return
    make_folder(pathlib.Path(path).parent)
    try:
        file = pathlib.Path(path).open("w", encoding="utf-8")  # noqa: SIM115  closed below
    except OSError as error:
        raise readable_os_error(error, path) from None
    with file:
        yield file

"""What gesture-demo does: source, model and recogniser in a row, and outputs for what they find."""

import argparse
import contextlib
import logging
import sys
from typing import IO, Iterator, List, Optional

from clipedge.jetson.camera import Source, open_source
from clipedge.jetson.camera.playback import Unhurried
from clipedge.jetson.command_line import DONE, FAILED
from clipedge.jetson.demo_call import check_call
from clipedge.jetson.demo_outputs import open_outputs
from clipedge.jetson.demo_recognition import choose_pace, choose_settings, replayed
from clipedge.jetson.engine_manifest import ENGINE_SUFFIX
from clipedge.jetson.live import Step, recognise
from clipedge.jetson.outputs import Outputs
from clipedge.jetson.outputs.replay import Replay, open_session
from clipedge.jetson.outputs.session import SessionFacts, session_facts
from clipedge.jetson.recogniser import Recogniser
from clipedge.jetson.runners import Runner, open_runner
from clipedge.jetson.source_options import source_options
from clipedge.jetson.spec import RANDOM_WEIGHTS
from clipedge.jetson.stem_reuse import StemReuse
from clipedge.jetson.stopping import StopRequests
from clipedge.jetson.summary import Summary
from clipedge.jetson.truth import TrueGesture, load_truth, score_events, truth_table

log = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> int:
    """Run gesture-demo with parsed arguments; return its exit status."""
    check_call(arguments)
    truth = load_truth(arguments.truth) if arguments.truth else None
    summary = Summary(keep_events=truth is not None)
    with contextlib.ExitStack() as stack:
        replay = arguments.replay and stack.enter_context(open_session(arguments.replay))
        runner = stack.enter_context(
            open_runner(arguments.model, arguments.backend, arguments.threads)
        )
        detector = arguments.detector and stack.enter_context(_open_detector(arguments, runner))
        _warn_of_model(arguments, runner, truth)
        source = replay or stack.enter_context(_open_source(arguments, runner))
        settings, pace = choose_settings(arguments, runner, source), choose_pace(arguments, source)
        recogniser = Recogniser(runner.spec.labels, settings)
        stem_reuse = StemReuse(arguments.model, runner) if arguments.reuse_stem else None
        played = _at_its_pace(source, arguments)
        steps = recognise(played, runner, recogniser, pace.interval_s, pace.hop, detector,
                          stem_reuse)  # fmt: skip
        facts: Optional[SessionFacts] = None
        if arguments.save_session is not None or isinstance(source, Replay):
            facts = session_facts(runner, arguments.model, settings, source, pace.interval_s,
                                  pace.hop, arguments.detector)  # fmt: skip
            if isinstance(source, Replay):
                steps = replayed(steps, source, facts)
        outputs = open_outputs(stack, arguments, runner, played, facts)
        outputs.include(summary)
        stopped = _follow(steps, outputs)
    cut_short = stopped and not (played.paced or arguments.loop)
    if stopped:
        log.info("stopped before its end" if cut_short else "stopped")
    if not summary.clips:
        _tell_nothing_scored(summary, source, runner.spec.span_s)
    _conclude(summary, truth, sys.stderr if arguments.events is None else sys.stdout)
    return FAILED if outputs.failed or cut_short else DONE


def _open_detector(arguments: argparse.Namespace, runner: Runner) -> Runner:
    """Open it with the backend that was found the fastest for the model."""
    engines = [name.endswith(ENGINE_SUFFIX) for name in (arguments.model, arguments.detector)]
    backend = arguments.backend if any(engines) else runner.describe()["backend"]
    return open_runner(arguments.detector, backend, arguments.threads)


def _open_source(arguments: argparse.Namespace, runner: Runner) -> Source:
    options = source_options(arguments, runner.spec.frame_rate_hz)
    watched = arguments.display != "none"
    return open_source(arguments.source, options._replace(watched=watched))


def _at_its_pace(source: Source, arguments: argparse.Namespace) -> Source:
    """Return a session that is watched, or asked to be, at the pace of its frames."""
    if isinstance(source, Replay) and (arguments.realtime or arguments.display != "none"):
        return Unhurried(source)  # RealTime would leave frames out
    return source


def _warn_of_model(
    arguments: argparse.Namespace, runner: Runner, truth: Optional[List[TrueGesture]]
) -> None:
    spec = runner.spec
    if spec.dataset == RANDOM_WEIGHTS:
        log.warning("%s has random weights: what it recognises means nothing.", arguments.model)
    unknown = sorted({one.label for one in truth or ()} - set(spec.labels))
    if unknown:
        log.warning("The model has no label '%s', which --truth names.", "', '".join(unknown))


def _follow(steps: Iterator[Step], outputs: Outputs) -> bool:
    """Hand all steps to the outputs; return True where a signal asked for the end."""
    with StopRequests() as stop:
        for step in steps:
            outputs.add(step)
            if stop.heard or outputs.stop_requested:
                break
        return stop.heard


def _tell_nothing_scored(summary: Summary, source: Source, span_s: float) -> None:
    if not summary.frames:
        reason = source.status.detail or "no frame came."
    elif summary.length_s < span_s:
        reason = f"frames came for {summary.length_s:.1f} s, and a clip needs {span_s:.1f} s."
    else:
        reason = f"frames came with gaps, and a clip needs {span_s:.1f} s without one."
    log.warning("Nothing was scored: %s", reason)


def _conclude(summary: Summary, truth: Optional[List[TrueGesture]], out: IO[str]) -> None:
    if truth is not None:
        out.write(truth_table(score_events(truth, summary.events)) + "\n")
    out.write(f"{summary}\n")

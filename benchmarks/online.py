"""How well a model recognises live: one event for one gesture, soon, and none for anything else.

    python -m clipedge.benchmarks.online --model demo/shufflenetv1_0.5x_synthetic.onnx

Generated sessions are filmed at several camera rates and go through the live path; rules for
naming gestures are compared on the same scores. What is tuned is tuned on sessions of other seeds.
"""

import argparse
import pathlib
import sys
from typing import Any, Dict, List, Optional, Sequence, Tuple

from clipedge.benchmarks.online_report import new_document, row, tables
from clipedge.benchmarks.online_rules import (
    agreement,
    argmax_with_threshold,
    best_threshold,
    judge,
    ours,
    tsm_smoothing,
)
from clipedge.benchmarks.online_sessions import (
    RENDERED_HZ,
    Scored,
    facts,
    labels_of_sessions,
    score_recording,
    score_session,
    seeds_of,
)
from clipedge.benchmarks.online_tuning import tuned
from clipedge.benchmarks.study import write_study
from clipedge.jetson.command_line import (
    DONE,
    CommandParser,
    natural,
    positive_float,
    positive_int,
    run_command,
)
from clipedge.jetson.errors import UsageError
from clipedge.jetson.progress import ProgressLine
from clipedge.jetson.recogniser_settings import RecogniserSettings, load_settings
from clipedge.jetson.runners import Runner

# Seeds of sessions; they share nothing below a thousand sessions.
TUNING_SEED, TEST_SEED = 1000, 2000
TRUTH_SUFFIX = ".truth.jsonl"  # beside a video
CAMERA_HZ = 30.0  # of the sessions on which rules are compared


def build_parser() -> CommandParser:
    """Return the parser."""
    parser = CommandParser(
        prog="python -m clipedge.benchmarks.online",
        description="Measure live recognition on generated sessions, and on videos with truth.",
    )
    add = parser.add_argument
    add("--model", required=True, metavar="FILE", help="of Jester's labels, as make demo trains it")
    add("--gestures", type=positive_int, default=216, help="of the test, at least")
    add("--tuning-gestures", type=positive_int, default=216, help="that the rules are tuned on")
    add("--seed", type=natural, default=TEST_SEED, help="of the test's first session")
    add(
        "--camera-rates",
        type=positive_float,
        nargs="*",
        default=[12.0, 15.0, 25.0, 30.0, 60.0],
        metavar="HZ",
        help="that the test is filmed at",
    )
    add("--rate", type=positive_float, default=12.0, metavar="HZ", help="clips scored a second")
    add("--recogniser", metavar="FILE", help="settings; else those beside the model, or defaults")
    add("--video", nargs="*", default=[], metavar="FILE", help="with FILE's .truth.jsonl beside it")
    add("--tune", type=positive_int, metavar="N", help="try so many other settings, and take the "
        "best on the tuning sessions")  # fmt: skip
    add("--write", metavar="FILE", help="write the settings that were tuned")
    add("--backend", default="auto", help="auto, onnxruntime, openvino or tensorrt")
    add("--threads", type=positive_int, metavar="N", help="CPU threads")
    add("--json", metavar="FILE", help="write every figure to FILE")
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    from clipedge.jetson.runners import open_runner

    named = {name: value for name, value in vars(arguments).items() if name != "json"}
    study = new_document(dict(named, model=pathlib.Path(arguments.model).name))
    with open_runner(arguments.model, arguments.backend, threads=arguments.threads) as runner:
        labels = runner.spec.labels
        settings = load_settings(arguments.model, labels, arguments.recogniser)
        if _draws_sessions(arguments, labels):
            tuning, test = _score(arguments, runner, study)
            if arguments.tune:
                settings = _tune(arguments, labels, settings, tuning)
            _compare(study, labels, settings, tuning, test)
        _videos(arguments, runner, settings, study)
    study["complete"] = True
    if arguments.json:
        write_study(arguments.json, study)
    sys.stdout.write(tables(study))
    return DONE


def _check(arguments: argparse.Namespace) -> None:
    tuning = seeds_of(TUNING_SEED, arguments.tuning_gestures)
    test = seeds_of(arguments.seed, arguments.gestures)
    if set(tuning) & set(test):
        raise UsageError(
            f"--seed {arguments.seed}: the tests would be sessions that rules are tuned on, "
            f"{tuning[0]} to {tuning[-1]}; choose others."
        )
    for rate_hz in arguments.camera_rates:
        if rate_hz > RENDERED_HZ:
            raise UsageError(
                f"--camera-rates {rate_hz:g}: sessions have {RENDERED_HZ:g} pictures a second."
            )
    if arguments.write and not arguments.tune:
        raise UsageError("--write goes with --tune: without it there are no new settings.")


def _draws_sessions(arguments: argparse.Namespace, labels: Sequence[str]) -> bool:
    """Tell whether the model's gestures can be drawn; without, there must be videos to measure."""
    try:
        drawn = tuple(labels) == labels_of_sessions()
    except UsageError:
        if not arguments.video:
            raise
        drawn = False
    if not drawn and (arguments.tune or not arguments.video):
        raise UsageError(
            f"{arguments.model} does not have the 27 labels of the generated sessions; train "
            "one: train-clips fit --data synthetic. Or give videos with their truth: --video FILE."
        )
    return drawn


def _score(
    arguments: argparse.Namespace, runner: Runner, study: Dict[str, Any]
) -> Tuple[List[Scored], Dict[float, List[Scored]]]:
    """Render and score all sessions: those to tune on, and those of the test by camera rate."""
    rates_hz = sorted({CAMERA_HZ, *arguments.camera_rates})
    tuning_seeds = seeds_of(TUNING_SEED, arguments.tuning_gestures)
    test_seeds = seeds_of(arguments.seed, arguments.gestures)
    tuning: List[Scored] = []
    test: Dict[float, List[Scored]] = {rate_hz: [] for rate_hz in rates_hz}
    planned = len(tuning_seeds) + len(test_seeds)
    with ProgressLine("scoring sessions", unit="sessions") as progress:
        for done, seed in enumerate(tuning_seeds):
            progress(done, planned)
            tuning += score_session(runner, seed, [CAMERA_HZ], arguments.rate).values()
        for done, seed in enumerate(test_seeds, len(tuning_seeds)):
            progress(done, planned)
            for rate_hz, scored in score_session(runner, seed, rates_hz, arguments.rate).items():
                test[rate_hz].append(scored)
    study["recordings"] = {
        "test": dict(facts(test[CAMERA_HZ]), seeds=[test_seeds[0], test_seeds[-1]]),
        "tuning": dict(facts(tuning), seeds=[tuning_seeds[0], tuning_seeds[-1]]),
    }
    return tuning, test


def _tune(
    arguments: argparse.Namespace,
    labels: Sequence[str],
    settings: RecogniserSettings,
    tuning: Sequence[Scored],
) -> RecogniserSettings:
    with ProgressLine("tuning", unit="settings") as progress:
        best, measures = tuned(labels, tuning, settings, arguments.tune, progress=progress)
    told = facts(tuning)
    best = best._replace(
        tuned_on="{gestures} generated gestures in {recordings} sessions".format(**told)
        + f" with {pathlib.Path(arguments.model).name}: Levenshtein accuracy "
        + f"{measures.levenshtein_accuracy:.3f} on them"
    )
    if arguments.write:
        best.save(arguments.write)
    return best


def _compare(
    study: Dict[str, Any],
    labels: Sequence[str],
    settings: RecogniserSettings,
    tuning: Sequence[Scored],
    test: Dict[float, List[Scored]],
) -> None:
    background = settings.background
    threshold = best_threshold(labels, tuning, background)
    recogniser = ours(settings)
    rules = [recogniser, argmax_with_threshold(threshold, background), tsm_smoothing(background)]
    for rule in rules:
        on_tuning = judge(rule, labels, tuning).levenshtein_accuracy
        found = judge(rule, labels, test[CAMERA_HZ])
        study["rules"].append(
            row(rule.name, found, settings=rule.settings, levenshtein_on_tuning=on_tuning)
        )
    for rate_hz, recordings in test.items():
        alike = agreement(recogniser, labels, recordings, test[CAMERA_HZ])
        found = judge(recogniser, labels, recordings)
        study["camera_rates"].append(row(f"{rate_hz:g} fps", found, alike=alike, rate_hz=rate_hz))


def _videos(
    arguments: argparse.Namespace,
    runner: Runner,
    settings: RecogniserSettings,
    study: Dict[str, Any],
) -> None:
    from clipedge.jetson.camera import open_source
    from clipedge.jetson.truth import load_truth

    labels, recordings = runner.spec.labels, []
    for path in arguments.video:
        truth = load_truth(pathlib.Path(path).with_suffix(TRUTH_SUFFIX))
        with open_source(path) as source:
            recordings.append(score_recording(runner, source, truth, arguments.rate))
        found = judge(ours(settings), labels, recordings[-1:])
        study["videos"].append(row(pathlib.Path(path).name, found))
    if len(recordings) > 1:
        study["videos"].append(row("all", judge(ours(settings), labels, recordings)))


if __name__ == "__main__":
    sys.exit(main())

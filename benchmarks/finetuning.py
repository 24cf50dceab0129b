"""What generated gestures are worth for real ones: python -m clipedge.benchmarks.finetuning.

The real ones are the 20 videos of github.com/ivokersten/DynamicGestureRecognition: one person, five
gestures, four conditions. A model is trained on some conditions and tested on others, from scratch,
from weights that know generated gestures, and with the last layer alone on top of those. All ways
get the same clips, in the same order, and as many steps. Every run is the commands a user types.
"""

import argparse
import csv
import json
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from clipedge.benchmarks.finetuning_report import conditions, table_text
from clipedge.benchmarks.study import write_study
from clipedge.jetson.command_line import DONE, CommandParser, positive_int, run_command
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.own_process import module_command
from clipedge.jetson.progress import ProgressLine

# The list's own names, and class folders whose mirror images ``--flip swap`` knows.
LABELS = {
    "horizontal": "horizontal",
    "vertical": "vertical",
    "circle_cw": "circle clockwise",
    "circle_ccw": "circle counterclockwise",
    "no_gesture": "No gesture",
}
TRAINED_ON = ("2m_Clear", "3m_Clear")
TESTED_ON = ("2m_Cluttered", "3m_Cluttered")
SCRATCH, FINE_TUNED, LAST_LAYER = "from scratch", "fine-tuned", "last layer alone"
WAYS = (SCRATCH, FINE_TUNED, LAST_LAYER)
# Few videos, seen often: one epoch, as nothing is measured between two; mirrored clips, smaller
# squares and half the learning rate that thousands of clips want; one process of one thread, so
# that the figures do not depend on the number of cores. Nothing was chosen on the Cluttered videos.
FIT_FLAGS = (
    "--epochs 1 --epoch-clips 2400 --batch 16 --devices 1 --threads 1 --flip swap "
    "--scales 1 0.84 0.71 0.6 --learning-rate 0.004"
)
_LAST_WORDS = 400  # characters of what a command that failed said


class Video(NamedTuple):
    """One line of the list.

    Attributes:
        path: of the file.
        label: name of its class folder.
        condition: such as 2m_Clear.
    """

    path: pathlib.Path
    label: str
    condition: str


def read_list(root: pathlib.Path) -> List[Video]:
    """Return the videos that ``clips.csv`` lists.

    Raises:
        UsageError: the list, one of its columns or one of its videos is missing.
    """
    try:
        with (root / "clips.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        videos = [
            Video(root / row["video"], LABELS[row["label"]], row["condition"]) for row in rows
        ]
    except (OSError, KeyError) as error:
        raise UsageError(
            f"{root} does not hold the videos of this study: {error}. Expected clips.csv with "
            f"video, label ({', '.join(LABELS)}) and condition."
        ) from None
    for video in videos:
        if not video.path.is_file():
            raise UsageError(f"{video.path} is listed in clips.csv and not there.")
    return videos


def lay_out(videos: Sequence[Video], chosen: Sequence[str], folder: pathlib.Path) -> None:
    """Make ``folder`` a folder of classes with links to the videos of the chosen conditions.

    All of them are for training: nothing is held back to choose weights by.

    Raises:
        UsageError: there is no such condition.
    """
    known = sorted({video.condition for video in videos})
    for condition in chosen:
        if condition not in known:
            raise UsageError(f"There is no condition '{condition}'; expected {', '.join(known)}.")
    lines = ["file,part"]
    for video in videos:
        if video.condition in chosen:
            name = f"{video.condition}_{video.path.name}"
            (folder / video.label).mkdir(parents=True, exist_ok=True)
            (folder / video.label / name).symlink_to(video.path.resolve())
            lines.append(f"{video.label}/{name},training")
    (folder / "split.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


class Start(NamedTuple):
    """What the flags say of the model.

    Attributes:
        init_from: checkpoint to fine-tune.
        model: its architecture, which the others have too.
        width: its width multiplier, or None.
        size: of the clips, pixels.
    """

    init_from: str
    model: str
    width: Optional[float]
    size: int


def fit_command(way: str, start: Start, seed: int, data: str, output: str, more: str) -> List[str]:
    """Return the train-clips command of one run.

    Args:
        way: one of WAYS.
        start: model and weights.
        seed: of weights, order and clips.
        data: folder of classes.
        output: checkpoint to write.
        more: further flags, as one types them.
    """
    if way == SCRATCH:
        model = ["--model", start.model]
        if start.width is not None:
            model += ["--width", str(start.width)]
    else:
        model = ["--init-from", start.init_from]
    if way == LAST_LAYER:
        model += ["--freeze", "backbone"]
    flags = ["--size", str(start.size), "--seed", str(seed), "--data", data, "--output", output]
    return ["train-clips", "fit"] + model + flags + shlex.split(more)


def run_way(
    way: str, start: Start, seed: int, folders: Tuple[str, str], more: str
) -> Dict[str, Any]:
    """Train once and test once; return the figures.

    Raises:
        ClipedgeError: one of the commands failed.
    """
    training, testing = folders
    with tempfile.TemporaryDirectory() as place:
        output = str(pathlib.Path(place) / "model.pt")
        command = fit_command(way, start, seed, training, output, more)
        began_s = time.monotonic()
        _call(command)
        seconds = time.monotonic() - began_s
        test = ["train-clips", "evaluate", "--checkpoint", output, "--data", testing]
        found = json.loads(_call(test + ["--part", "all", "--json"]))
    figures = {
        key: found[key] for key in ("clips", "clip_top1", "videos", "video_top1", "confusion")
    }
    return dict(figures, way=way, seed=seed, fit_seconds=round(seconds, 1))


def _call(command: Sequence[str]) -> str:
    """Run train-clips and return what it printed; where this is interrupted, so is that."""
    process = subprocess.Popen(
        module_command("clipedge.trainside.cli") + list(command[1:]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    try:
        printed, said = process.communicate()
    except BaseException:
        # Not killed, as subprocess.run would: it has processes of its own to end.
        process.terminate()
        process.wait()
        raise
    if process.returncode != DONE:
        called = " ".join(map(shlex.quote, command))
        raise ClipedgeError(f"{called} failed: {said.strip()[-_LAST_WORDS:]}")
    return printed


def build_parser() -> CommandParser:
    """Return the parser."""
    parser = CommandParser(
        prog="python -m clipedge.benchmarks.finetuning",
        description="Compare training from scratch with fine-tuning on twenty real videos.",
    )
    add = parser.add_argument
    add("--data", required=True, metavar="DIR", help="the videos, with clips.csv")
    add(
        "--init-from",
        required=True,
        metavar="FILE",
        help="checkpoint of generated gestures, such as make demo's",
    )
    add("--train", nargs="+", default=list(TRAINED_ON), metavar="CONDITION", help="trained on")
    add("--test", nargs="+", default=list(TESTED_ON), metavar="CONDITION", help="tested on")
    add("--ways", nargs="+", default=list(WAYS), choices=WAYS, help="of training")
    add("--seeds", type=positive_int, default=3, help="runs of each way")
    add("--size", type=positive_int, help="of the clips, pixels; else the checkpoint's")
    add("--fit", default=FIT_FLAGS, metavar="FLAGS", help="for train-clips fit, of all ways")
    add("--json", metavar="FILE", help="write every figure to FILE")
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    both = sorted(set(arguments.train) & set(arguments.test))
    if both:
        raise UsageError(f"--train and --test share {', '.join(both)}: test on other videos.")
    videos = read_list(pathlib.Path(arguments.data))
    start = _start(arguments)
    settings = {name: getattr(arguments, name) for name in ("train", "test", "seeds", "fit")}
    started = start._replace(init_from=pathlib.Path(start.init_from).name)
    study = conditions(dict(settings, **started._asdict()))
    with tempfile.TemporaryDirectory() as place:
        folders = (pathlib.Path(place) / "training", pathlib.Path(place) / "test")
        for folder, chosen in zip(folders, (arguments.train, arguments.test)):
            lay_out(videos, chosen, folder)
        names = (str(folders[0]), str(folders[1]))
        # Seed by seed, so that whatever else the machine does meets all ways alike.
        runs = [(way, seed) for seed in range(arguments.seeds) for way in arguments.ways]
        with ProgressLine("fine-tuning", unit="runs") as progress:
            for number, (way, seed) in enumerate(runs, 1):
                progress.show(f"{number} of {len(runs)}: {way}, seed {seed}")
                study["runs"].append(run_way(way, start, seed, names, arguments.fit))
                study["complete"] = number == len(runs)
                if arguments.json:
                    write_study(arguments.json, study)
    sys.stdout.write(table_text(study))
    return DONE


def _start(arguments: argparse.Namespace) -> Start:
    from clipedge.trainside.transfer import load_start

    spec = load_start(arguments.init_from).spec
    path = str(pathlib.Path(arguments.init_from).resolve())
    return Start(path, spec.model, spec.width, arguments.size or spec.size)


if __name__ == "__main__":
    sys.exit(main())

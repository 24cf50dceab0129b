"""What a frame costs besides inference: python -m clipedge.benchmarks.live.

The live path runs on frames that lie in memory, with a runner that costs nothing, so what remains
is preprocessing, clip and recogniser. Beside it, in turns, clips are made the way the paper's code
makes them: PIL scales, crops and normalises all 16 frames of every clip. All in one thread. Times
are the processor's, so that other programs which take it in between do not count.
"""

import argparse
import itertools
import statistics
import sys
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

import numpy as np

from clipedge.benchmarks.live_report import PARTS, conditions, table_text
from clipedge.benchmarks.paper_clips import ClipsByPil
from clipedge.benchmarks.study import write_study
from clipedge.jetson.camera import Frame, Source
from clipedge.jetson.clip_buffer import ClipBuffer
from clipedge.jetson.command_line import DONE, CommandParser, positive_int, run_command
from clipedge.jetson.live import Step, recognise
from clipedge.jetson.preprocess import Preprocessor
from clipedge.jetson.progress import ProgressLine
from clipedge.jetson.recogniser import Recogniser
from clipedge.jetson.runners.base import Runner
from clipedge.jetson.spec import ClipSpec, numbered_labels

PICTURES = ((640, 480), (1280, 720), (1920, 1080))  # width, height
RATES_HZ = (12.0, 30.0)  # of the camera; the spacing of the clips is 1/6 s
DEMO_RATE_HZ = 12.0  # clips scored a second, as gesture-demo does unless told otherwise
CLASSES = 27  # Jester's
FRAMES_A_TURN = 60
CLIPS_A_TURN = 2  # by PIL
DISTINCT = 8  # pictures in memory; a camera's next one is not in the cache either


class Case(NamedTuple):
    """One camera and how often its clips are scored."""

    width: int
    height: int
    rate_hz: float
    interval_s: float  # 0: each new frame

    @property
    def scored(self) -> str:
        """How often, in words."""
        return f"{1 / self.interval_s:g} a second" if self.interval_s else "each frame"


def all_cases() -> List[Case]:
    """Return the cases of the table; at 12 frames a second both ways of scoring are the same."""
    cases = []
    for width, height in PICTURES:
        cases += [Case(width, height, rate_hz, 0.0) for rate_hz in RATES_HZ]
        cases.append(Case(width, height, RATES_HZ[-1], 1 / DEMO_RATE_HZ))
    return cases


class FreeRunner(Runner):
    """Hands out logits that were there before; it notes how long it was called."""

    backend = "none"

    def __init__(self, spec: ClipSpec) -> None:
        super().__init__(spec)
        rng = np.random.RandomState(0)
        self._logits = itertools.cycle(rng.normal(0, 2, (64, 1, CLASSES)).astype(np.float32))

    def _infer(self, clips: np.ndarray) -> np.ndarray:
        return next(self._logits)

    def describe(self) -> Dict[str, Any]:
        """Return what it is."""
        return {"backend": self.backend}


class Pictures(Source):
    """The same few pictures for ever."""

    def __init__(self, pictures: Sequence[np.ndarray], rate_hz: float) -> None:
        self._pictures = pictures
        self._rate_hz = rate_hz

    @property
    def endless(self) -> bool:
        """It is."""
        return True

    def __iter__(self) -> Iterator[Frame]:
        for number, picture in enumerate(itertools.cycle(self._pictures)):
            yield Frame(picture, number / self._rate_hz, number)


class LivePath:
    """The live path of one case, warm: its clip is full."""

    def __init__(self, case: Case, pictures: Sequence[np.ndarray], spec: ClipSpec) -> None:
        source = Pictures(pictures, case.rate_hz)
        recogniser = Recogniser(spec.labels)
        self._steps: Iterator[Step] = recognise(
            source, FreeRunner(spec), recogniser, case.interval_s
        )
        while next(self._steps).latency_ms is None:
            pass

    def turn(self, frames: int) -> Dict[str, Any]:
        """Take so many frames.

        Returns:
            ``frame_ms`` of each, and ``clip_ms`` of each clip with the frames since the one before.
        """
        frames_ms: List[float] = []
        clips_ms: List[float] = []
        since_ms: Optional[float] = None  # the first clip's frames were not all seen
        for _ in range(frames):
            start_s = time.process_time()
            step = next(self._steps)
            frame_ms = (time.process_time() - start_s) * 1e3
            frames_ms.append(frame_ms)
            if since_ms is not None:
                since_ms += frame_ms
            if step.latency_ms is not None:
                if since_ms is not None:
                    clips_ms.append(since_ms)
                since_ms = 0.0
        return {"frame_ms": frames_ms, "clip_ms": clips_ms}


def time_parts(pictures: Sequence[np.ndarray], spec: ClipSpec, frames: int) -> Dict[str, float]:
    """Return the median milliseconds of each part, at 30 frames a second and a clip for each."""
    preprocess, buffer = Preprocessor(spec), ClipBuffer(spec)
    recogniser, runner = Recogniser(spec.labels), FreeRunner(spec)
    view = np.empty((3, spec.size, spec.size), np.uint8)
    clip = np.empty((1, *spec.clip_shape), np.float32)
    taken_ms: Dict[str, List[float]] = {part: [] for part in PARTS}
    warm = int(spec.span_s * RATES_HZ[-1]) + 2
    for number, picture in enumerate(itertools.islice(itertools.cycle(pictures), warm + frames)):
        time_s = number / RATES_HZ[-1]
        marks_s = [time.process_time()]
        preprocess(picture, out=view)
        marks_s.append(time.process_time())
        buffer.push(view, time_s)
        marks_s.append(time.process_time())
        if number < warm:
            continue
        buffer.clip(out=clip)
        marks_s.append(time.process_time())
        logits = runner.infer(clip)[0]
        marks_s.append(time.process_time())
        recogniser.update(logits, time_s)
        marks_s.append(time.process_time())
        for part, before_s, after_s in zip(PARTS, marks_s, marks_s[1:]):
            taken_ms[part].append((after_s - before_s) * 1e3)
    return {part: statistics.median(times) for part, times in taken_ms.items()}


def time_clips(make: Callable[[], object], clips: int) -> List[float]:
    """Return the milliseconds of making so many clips."""
    times_ms = []
    for _ in range(clips):
        start_s = time.process_time()
        make()
        times_ms.append((time.process_time() - start_s) * 1e3)
    return times_ms


class Bench:
    """All cases, ready to be timed in turns."""

    def __init__(self, cases: Sequence[Case], spec: ClipSpec) -> None:
        self.cases = cases
        self._spec = spec
        rng = np.random.RandomState(0)
        self._pictures: Dict[Any, List[np.ndarray]] = {}
        for width, height in sorted({(case.width, case.height) for case in cases}):
            shape = (DISTINCT, height, width, 3)
            self._pictures[width, height] = list(rng.randint(0, 256, shape).astype(np.uint8))
        self._paths = [
            LivePath(case, self._pictures[case.width, case.height], spec) for case in cases
        ]
        self._by_pil = {shape: ClipsByPil.of(p, spec) for shape, p in self._pictures.items()}

    @property
    def has_pil(self) -> bool:
        """PIL is installed."""
        return all(one is not None for one in self._by_pil.values())

    def turn(self, number: int) -> List[Dict[str, Any]]:
        """Time each case once beside PIL; every second turn in the other order."""
        results: List[Dict[str, Any]] = [{} for _ in self.cases]
        order = list(range(len(self.cases)))
        for index in order if number % 2 == 0 else reversed(order):
            case = self.cases[index]
            by_pil = self._by_pil[case.width, case.height]
            ours = self._paths[index].turn(FRAMES_A_TURN)
            theirs = [] if by_pil is None else time_clips(by_pil.clip, CLIPS_A_TURN)
            results[index] = {**ours, "pil_clip_ms": theirs}
        return results

    def parts(self) -> List[Dict[str, Any]]:
        """Time the parts for each shape of pictures."""
        return [
            {
                "width": width,
                "height": height,
                "median_ms": time_parts(pictures, self._spec, FRAMES_A_TURN),
            }
            for (width, height), pictures in self._pictures.items()
        ]


def build_parser() -> CommandParser:
    """Return the parser."""
    parser = CommandParser(
        prog="python -m clipedge.benchmarks.live",
        description="Time a frame of the live path besides inference, and clips made with PIL.",
    )
    parser.add_argument("--size", type=positive_int, default=112, help="of the model's pictures")
    parser.add_argument("--turns", type=positive_int, default=10, help="times each case is timed")
    parser.add_argument("--json", metavar="FILE", help="write every figure to FILE")
    return parser


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit status."""
    return run_command(build_parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    study = measure(all_cases(), arguments.size, arguments.turns)
    sys.stdout.write(table_text(study))
    if arguments.json:
        write_study(arguments.json, study)
    return DONE


def measure(cases: Sequence[Case], size: int, turns: int) -> Dict[str, Any]:
    """Return the study's document.

    Args:
        cases: what to time.
        size: of the model's pictures, pixels.
        turns: times each case is timed.
    """
    import cv2

    labels = ("No gesture", *numbered_labels(CLASSES - 1))
    spec = ClipSpec(model="none", labels=labels, size=size)
    study = conditions({"size": size, "turns": turns, "frames_a_turn": FRAMES_A_TURN})
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        bench = Bench(cases, spec)
        study["pil"] = bench.has_pil
        study["cases"] = [
            {**case._asdict(), "scored": case.scored, "turns": []} for case in bench.cases
        ]
        with ProgressLine("the live path and PIL, in turns", unit="turns") as progress:
            for number in range(turns):
                for case, result in zip(study["cases"], bench.turn(number)):
                    case["turns"].append(result)
                study["parts"].append(bench.parts())
                progress(number + 1, turns)
    finally:
        cv2.setNumThreads(threads)
    study["complete"] = True
    return study


if __name__ == "__main__":
    sys.exit(main())

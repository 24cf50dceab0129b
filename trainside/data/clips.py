"""Data sets as PyTorch wants them: clips to learn from, and all clips of a video to score."""

import os
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.files import readable_os_error
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.data.augmentation import Augmentation
from clipedge.trainside.data.cache import ClipCache, Entry
from clipedge.trainside.data.catalog import Catalog, Recording
from clipedge.trainside.data.footage import Footage, with_footage
from clipedge.trainside.data.hints import mirrored_hints
from clipedge.trainside.data.samples import Sample, VideoClips
from clipedge.trainside.data.synthetic import SyntheticClips, Window
from clipedge.trainside.data.temporal import evaluation_clips, thinned, training_clip
from clipedge.trainside.data.transforms import (
    Draws,
    draw,
    evaluation_frames,
    kept_shape,
    mirrored_target,
    scaled,
    training_frames,
)

Source = Catalog | SyntheticClips

MOST_UNREADABLE = 50  # recordings in a row
NO_HINTS = np.empty(0, np.float32)


class TrainingClips(torch.utils.data.Dataset[Sample]):
    """One varied clip of each recording in each epoch; indices are (epoch, number)."""

    def __init__(
        self,
        source: Source,
        spec: ClipSpec,
        augmentation: Augmentation,
        seed: int,
        cache: ClipCache | None = None,
    ) -> None:
        """Describe the clips; nothing is read yet.

        Args:
            source: the data set.
            spec: frames, size and spacing of the clips.
            augmentation: what may be drawn.
            seed: the same seed, epoch and number give the same clip in whatever process.
            cache: keeps what was decoded; it changes no clip.
        """
        self.source = source
        self.spec = spec
        self._augmentation = augmentation
        self._seed = seed
        self._cache = cache

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, number = key
        draws = draw(np.random.default_rng((self._seed, epoch, number)), self._augmentation)
        if isinstance(self.source, SyntheticClips):
            return self._generated(self.source, number, draws)
        return self._recorded(self.source, number, draws)

    def _generated(self, source: SyntheticClips, number: int, draws: Draws) -> Sample:
        frames, target, hints = generated_window(source, number, self.spec, self._cache)
        if draws.mirror:
            frames, hints = frames[..., ::-1], mirrored_hints(hints[None])[0]
            target = self._mirrored(target)
        frames = np.ascontiguousarray(frames)
        return Sample(frames, draws.gain, draws.offset, target, hints)

    def _recorded(self, source: Catalog, number: int, draws: Draws) -> Sample:
        """Read the clip, or that of the next recording that can be read."""
        problems: list[str] = []
        for shift in range(MOST_UNREADABLE):
            recording = source.recordings[(number + shift) % len(source)]
            try:
                pictures, problem = self._pictures(recording, draws)
            except ClipedgeError as error:
                problems.append(str(error))
                continue
            if problem:
                problems.append(problem)
            target = self._mirrored(recording.target) if draws.mirror else recording.target
            frames = training_frames(pictures, draws, self.spec.size)
            return Sample(frames, draws.gain, draws.offset, target, NO_HINTS, tuple(problems))
        raise ClipedgeError(
            f"{MOST_UNREADABLE} recordings in a row cannot be read, the last: {problems[-1]} "
            "Is the data set unpacked whole, and its disk there?"
        )

    def _pictures(self, recording: Recording, draws: Draws) -> tuple[list[np.ndarray], str]:
        """Return the T pictures of a clip, scaled as they are kept, and the recording's problem."""

        def choose(footage: Footage) -> tuple[list[np.ndarray], str]:
            kept = thinned(footage.times_s, self.spec)
            entry = self._store(recording, footage, kept)
            if entry is not None:
                return self._held(entry, draws), footage.problem
            picks = kept[training_clip(footage.times_s[kept], self.spec, draws.start)]
            wanted, order = np.unique(picks, return_inverse=True)
            pictures = list(_as_kept(footage.read(wanted), self.spec.size))
            height, width = pictures[0].shape[:2]  # a folder may hold pictures of several shapes
            return [scaled(pictures[place], height, width) for place in order], footage.problem

        entry = None if self._cache is None else self._cache.find(self._key(recording))
        if entry is not None:
            return self._held(entry, draws), entry.facts["problem"]
        return with_footage(recording, self.spec.frame_rate_hz, choose)

    def _store(self, recording: Recording, footage: Footage, kept: np.ndarray) -> Entry | None:
        if self._cache is None or self._cache.full:
            return None
        pictures = _as_kept(footage.read(kept), self.spec.size)
        facts = {"times_s": footage.times_s[kept].tolist(), "problem": footage.problem}
        return self._cache.add(self._key(recording), len(kept), pictures, facts)

    def _held(self, entry: Entry, draws: Draws) -> list[np.ndarray]:
        picks = training_clip(np.array(entry.facts["times_s"]), self.spec, draws.start)
        return [entry.arrays[pick] for pick in picks]

    def _key(self, recording: Recording) -> str:
        return recording_key("training", recording, self.spec)

    def _mirrored(self, target: int) -> int:
        mirrored = self._augmentation.mirrored
        assert mirrored is not None
        return mirrored_target(target, self.source.labels, mirrored)


class EvaluationClips(torch.utils.data.Dataset[VideoClips]):
    """All clips of each recording that are scored, as the board would see them."""

    def __init__(
        self,
        source: Source,
        spec: ClipSpec,
        clips_per_video: int | None = None,
        cache: ClipCache | None = None,
    ) -> None:
        """Describe the clips; nothing is read yet.

        Args:
            source: the data set.
            spec: frames, size and spacing of the clips.
            clips_per_video: so many, evenly spread; None: one after the other over all of it.
            cache: keeps the clips for the next time; it changes none.
        """
        self.source = source
        self.spec = spec
        self._count = clips_per_video
        self._cache = cache

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, number: int) -> VideoClips:
        if isinstance(self.source, SyntheticClips):
            frames, target, _ = generated_window(self.source, number, self.spec, self._cache)
            return VideoClips(frames[None], target, number)
        recording = self.source.recordings[number]
        try:
            frames, problem = self._clips(recording)
        except ClipedgeError as error:
            frames, problem = np.empty((0, *self.spec.clip_shape), np.uint8), str(error)
        return VideoClips(frames, recording.target, number, problem)

    def _clips(self, recording: Recording) -> tuple[np.ndarray, str]:
        key = recording_key(f"evaluation {self._count}", recording, self.spec)
        entry = None if self._cache is None else self._cache.find(key)
        if entry is not None:
            return entry.arrays, entry.facts["problem"]

        def read(footage: Footage) -> tuple[np.ndarray, str]:
            picks = np.stack(evaluation_clips(footage.times_s, self.spec, self._count))
            wanted, order = np.unique(picks, return_inverse=True)
            frames = evaluation_frames(footage.read(wanted), self.spec)
            clips = frames[order.reshape(picks.shape)].transpose(0, 2, 1, 3, 4)
            return np.ascontiguousarray(clips), footage.problem

        clips, problem = with_footage(recording, self.spec.frame_rate_hz, read)
        if self._cache is not None:
            self._cache.add(key, len(clips), iter(clips), {"problem": problem})
        return clips, problem


def _as_kept(pictures: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Scale pictures to what training keeps of them."""
    for picture in pictures:
        yield scaled(picture, *kept_shape(picture.shape[0], picture.shape[1], size))


def generated_window(
    source: SyntheticClips, number: int, spec: ClipSpec, cache: ClipCache | None
) -> Window:
    """Return what a network sees of a generated clip; draw it where it is not in the cache."""
    if cache is None:
        return source.window(number, spec)
    key = f"{source.identity} {number} {spec.clip_shape} {spec.spacing_s!r}"
    entry = cache.find(key)
    if entry is not None:
        hints = np.array(entry.facts["hints"], np.float32)
        return Window(entry.arrays[0], entry.facts["target"], hints)
    window = source.window(number, spec)
    facts = {"target": window.target, "hints": window.hints.tolist()}
    cache.add(key, 1, iter((window.frames,)), facts)
    return window


def recording_key(purpose: str, recording: Recording, spec: ClipSpec) -> str:
    """Name what is cached of a recording; a changed file or another spec gives another name."""
    path = recording.path.absolute()
    rate_hz = recording.frame_rate_hz or spec.frame_rate_hz
    return f"{purpose} {path} {_state(path)} {rate_hz!r} {spec.clip_shape} {spec.spacing_s!r}"


def _state(path: pathlib.Path) -> tuple[int, int, int]:
    """Number of files, their bytes, and when the last was written."""
    try:
        entries = list(os.scandir(path)) if path.is_dir() else [path]
        states = [entry.stat() for entry in entries]
    except OSError as error:
        raise readable_os_error(error, path) from None
    newest_ns = max((state.st_mtime_ns for state in states), default=0)
    return len(states), sum(state.st_size for state in states), newest_ns

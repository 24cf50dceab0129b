"""The plain way to train, to compare with: what one writes first, and what the paper's code does.

PIL decodes, crops and scales each frame in the process that trains; clips are contiguous float32;
PyTorch chooses its threads. Model, optimizer, batch, recordings, moments and crops are those of
``clipedge.trainside``.
"""

from typing import Any, Iterator, List, NamedTuple, Tuple


class Footing(NamedTuple):
    """Where a recording's frames are, found out before anything is timed.

    Attributes:
        frames: paths of the pictures of a folder; empty for a video file.
        kept: (J,) int64, numbers of the frames that training takes clips from.
        times_s: (J,) float64, when they were taken.
    """

    frames: List[Any]
    kept: Any
    times_s: Any


class PlainClips:
    """The clips that ``TrainingClips`` gives, read by PIL."""

    def __init__(self, catalog: Any, spec: Any, augmentation: Any, seed: int) -> None:
        """Find out which frames there are.

        Args:
            catalog: the ``Catalog`` whose recordings are read.
            spec: the ``ClipSpec`` of the clips.
            augmentation: the ``Augmentation`` that crops are drawn from; it mirrors nothing.
            seed: the same seed, epoch and number give the same frames and crop.
        """
        from clipedge.trainside.data.footage import with_footage

        self._catalog = catalog
        self._spec = spec
        self._augmentation = augmentation
        self._seed = seed
        self._footings = [
            with_footage(recording, spec.frame_rate_hz, self._footing(recording))
            for recording in catalog.recordings
        ]

    def _footing(self, recording: Any) -> Any:
        from clipedge.jetson.camera.stills import list_pictures
        from clipedge.trainside.data.temporal import thinned

        def look(footage: Any) -> Footing:
            kept = thinned(footage.times_s, self._spec)
            frames = list_pictures(recording.path) if recording.path.is_dir() else []
            return Footing(frames, kept, footage.times_s[kept])

        return look

    def clip(self, epoch: int, number: int) -> Tuple[Any, int]:
        """Return (3, T, S, S) float32, normalised, contiguous; and the target."""
        import numpy as np
        import torch
        from PIL import Image

        from clipedge.trainside.data.temporal import training_clip
        from clipedge.trainside.data.transforms import draw

        spec, footing = self._spec, self._footings[number]
        draws = draw(np.random.default_rng((self._seed, epoch, number)), self._augmentation)
        picks = footing.kept[training_clip(footing.times_s, spec, draws.start)].tolist()
        mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
        frames = []
        for image in self._images(number, footing, picks):
            width, height = image.size
            side = max(1, round(draws.scale * min(height, width)))
            top, left = round(draws.top * (height - side)), round(draws.left * (width - side))
            square = image.crop((left, top, left + side, top + side))
            small = square.resize((spec.size, spec.size), Image.Resampling.BILINEAR)
            frames.append((np.asarray(small, np.float32) - mean) / std)
        clip = np.ascontiguousarray(np.stack(frames).transpose(3, 0, 1, 2))
        return torch.from_numpy(clip), self._catalog.recordings[number].target

    def _images(self, number: int, footing: Footing, picks: List[int]) -> Iterator[Any]:
        if not footing.frames:
            yield from _video_images(self._catalog.recordings[number].path, picks)
            return
        from PIL import Image

        for pick in picks:
            with Image.open(footing.frames[pick]) as image:
                yield image.convert("RGB")

    def batches(self, order: Any) -> Iterator[Tuple[Any, Any]]:
        """Yield (N, 3, T, S, S) float32 and (N,) int64 for each list of (epoch, number)."""
        import torch

        for keys in order:
            clips, targets = zip(*[self.clip(epoch, number) for epoch, number in keys])
            yield torch.stack(clips), torch.tensor(targets)


def _video_images(path: Any, picks: List[int]) -> List[Any]:
    """Decode a video from its start to the last frame that is needed."""
    import av

    wanted, found = set(picks), {}
    with av.open(str(path)) as container:
        frames: Iterator[Any] = container.decode(video=0)
        for number, frame in enumerate(frames):
            if number in wanted:
                found[number] = frame.to_image()
            if number >= max(wanted):
                break
    last = max(found)
    return [found.get(pick, found[last]) for pick in picks]


def step(model: Any, optimizer: Any, clips: Any, targets: Any) -> None:
    """Learn from one batch."""
    from torch.nn import functional

    loss: Any = functional.cross_entropy(model(clips), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

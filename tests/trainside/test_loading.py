"""The order of clips: every recording once in a pass, the same however it is shared."""

import numpy as np
import pytest

from clipedge.jetson.errors import UsageError
from clipedge.jetson.spec import ClipSpec
from clipedge.trainside.data.samples import VideoClips
from clipedge.trainside.loading import MicroBatches, validation_loader

SPEC = ClipSpec("shufflenetv2", ("a", "b"), width=0.25, size=8, frames=2)


def orders(count, batch, parts, world, seed=3, least=0):
    return [MicroBatches(count, batch, parts, rank, world, seed, least) for rank in range(world)]


def test_an_epoch_takes_every_recording_once():
    (order,) = orders(24, 8, 1, 1)
    for epoch in range(2):
        keys = [key for part in order for key in part]
        assert sorted(keys) == [(epoch, index) for index in range(24)]


def test_each_epoch_has_an_order_of_its_own():
    (order,) = orders(24, 8, 1, 1)
    first, second = ([index for part in order for _, index in part] for _ in range(2))
    assert first != second


def test_a_small_data_set_is_passed_over_again_with_other_variations():
    (order,) = orders(4, 4, 1, 1, least=10)
    assert order.steps == 3
    for epoch in range(2):
        keys = [key for part in order for key in part]
        assert sorted(keys) == [(3 * epoch + one, index) for one in range(3) for index in range(4)]


@pytest.mark.parametrize("world", [1, 2, 4])
def test_a_step_learns_from_the_same_clips_however_it_is_shared(world):
    parts = 4
    shared = [list(order) for order in orders(50, 16, parts, world)]
    (alone,) = (list(order) for order in orders(50, 16, parts, 1))
    assert len(alone) == 3 * parts
    for number, part in enumerate(alone):
        assert shared[number % world][number // world] == part
    assert {len(part) for order in shared for part in order} == {4}


def test_processes_share_no_clip():
    first, second = ({key for part in order for key in part} for order in orders(48, 8, 2, 2))
    assert not first & second
    assert len(first | second) == 48


def test_a_resumed_epoch_begins_where_it_was_and_the_next_at_its_start():
    (whole,) = orders(48, 8, 2, 1)
    epochs = [list(whole) for _ in range(3)]
    (resumed,) = orders(48, 8, 2, 1)
    resumed.epoch, resumed.first = 1, 5
    assert list(resumed) == epochs[1][5:]
    assert list(resumed) == epochs[2]


@pytest.mark.parametrize(("count", "world"), [(2, 4), (3, 2), (1, 3), (7, 3)])
def test_fewer_recordings_than_a_step_has_still_make_steps_of_equal_parts(count, world):
    for order in orders(count, 128, world, world):
        assert order.steps >= 1
        parts = list(order)
        assert len(parts) == len(order) == order.steps
        assert {len(part) for part in parts} == {order.part_size}
        assert order.part_size >= 2


def test_a_batch_that_leaves_one_clip_to_a_process_is_refused():
    with pytest.raises(UsageError, match="Raise --batch to 8"):
        MicroBatches(100, 7, 4, 0, 2, 0)


class Videos:
    """Videos of as many clips as their number."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> VideoClips:
        frames = np.full((number, *SPEC.clip_shape), number, np.uint8)
        return VideoClips(frames, number % 2, number, "" if number else "damaged")


@pytest.mark.parametrize(("count", "world"), [(20, 1), (19, 2), (2, 4)])
def test_validation_sees_every_video_once_and_every_process_has_a_step(count, world):
    seen: list[int] = []
    problems: list[str] = []
    for rank in range(world):
        batches = list(validation_loader(Videos(count), rank, world, 0))
        assert batches
        for batch in batches:
            assert len(batch.frames) == len(batch.targets)
            seen += [int(frames.flatten()[0]) for frames in batch.frames]
            problems += batch.problems
    assert sorted(seen) == sorted(number for number in range(count) for _ in range(number))
    assert problems == ["damaged"]

"""The generated gestures: what they show, that they follow from the seed, and their streams."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

from clipedge.jetson.spec import ClipSpec
from clipedge.jetson.truth import load_truth
from clipedge.trainside.data.backgrounds import BACKGROUNDS
from clipedge.trainside.data.gestures import (
    BACKGROUND_LABELS,
    DISTRACTORS,
    LABELS,
    MIRRORED,
    NO_GESTURE,
    OTHER_THINGS,
    draw_variation,
    gesture_poses,
)
from clipedge.trainside.data.hand import COLUMN, draw_hand, hand_shapes, joint_positions
from clipedge.trainside.data.labels import dataset_labels
from clipedge.trainside.data.scene import BANDS, SKIN_TONES, draw_in_bands, draw_look
from clipedge.trainside.data.streams import (
    REST_S,
    choose_gestures,
    plan_session,
    render_stream,
)
from clipedge.trainside.data.synthetic import (
    BEFORE_PART,
    BEFORE_REST_S,
    EDGE_EVERY,
    OTHER_EVERY,
    SyntheticClips,
    main,
)
from clipedge.trainside.data.takes import Take

SPEC = ClipSpec("any", LABELS, size=32)


def way(label: str, column: str, left_hand: bool = False) -> float:
    """How far the hand gets in the picture during the gesture proper, in the pose's units."""
    performed = MIRRORED.get(label, label) if left_hand else label
    variation = draw_variation(np.random.default_rng(0))
    poses = gesture_poses(performed, np.array((0.0, 1.0)), variation)
    difference = float(np.diff(poses[:, COLUMN[column]])[0])
    return -difference if left_hand and column in ("x", "roll", "yaw") else difference


def test_the_classes_are_jesters_in_the_order_of_its_logits():
    assert list(LABELS) == dataset_labels("jester")


@pytest.mark.parametrize("left_hand", [False, True])
@pytest.mark.parametrize(
    ("label", "column", "sign"),
    [
        ("Swiping Left", "x", -1),
        ("Swiping Right", "x", 1),
        ("Swiping Up", "y", 1),
        ("Swiping Down", "y", -1),
        ("Sliding Two Fingers Left", "x", -1),
        ("Sliding Two Fingers Right", "x", 1),
        ("Sliding Two Fingers Up", "y", 1),
        ("Sliding Two Fingers Down", "y", -1),
        ("Pushing Hand Away", "grow", 1),
        ("Pulling Hand In", "grow", -1),
        ("Pushing Two Fingers Away", "grow", 1),
        ("Pulling Two Fingers In", "grow", -1),
        ("Turning Hand Clockwise", "roll", -1),
        ("Turning Hand Counterclockwise", "roll", 1),
        ("Zooming In With Full Hand", "index", -1),
        ("Zooming Out With Full Hand", "pinky", 1),
        ("Zooming In With Two Fingers", "index", -1),
        ("Zooming Out With Two Fingers", "index", 1),
    ],
)
def test_a_gesture_goes_where_its_name_says_with_either_hand(label, column, sign, left_hand):
    assert sign * way(label, column, left_hand) > 0.15


@pytest.mark.parametrize("forward", [True, False])
def test_rolling_forward_comes_to_the_camera_over_the_top(forward):
    label = "Rolling Hand Forward" if forward else "Rolling Hand Backward"
    poses = gesture_poses(label, np.linspace(0, 1, 200), draw_variation(np.random.default_rng(1)))
    height, grow = poses[:, COLUMN["y"]], poses[:, COLUMN["grow"]]
    at_top = height[:-1] > np.quantile(height, 0.9)
    change = np.diff(grow)[at_top]
    assert (change > 0).all() if forward else (change < 0).all()


@pytest.mark.parametrize(("label", "sign"), [("Thumb Up", -1), ("Thumb Down", 1)])
@pytest.mark.parametrize("seed", range(4))
def test_the_thumb_points_up_or_down_in_the_picture(label, sign, seed):
    variation = draw_variation(np.random.default_rng(seed))
    joints, _ = joint_positions(gesture_poses(label, np.array((0.5,)), variation))
    thumb = joints[0, 0, 3] - joints[0, 0, 0]
    assert -sign * thumb[1] > 2.0 * abs(thumb[0])  # y is upwards


@pytest.mark.parametrize("seed", range(6))
def test_swiping_left_moves_the_drawn_hand_to_the_left_of_the_picture(seed):
    take = Take(np.random.default_rng(seed), "training", ["Swiping Left"])
    gesture, look = take.performances[0], take.look.hand
    poses = take.poses(np.array((gesture.start_s, gesture.end_s)))
    shapes = hand_shapes(poses, look, 64, 64, np.zeros((2, 2)))
    columns = []
    for frame in range(2):
        picture = np.zeros((64, 64, 3), np.uint8)
        draw_hand(picture, shapes, frame, look)
        upper = picture[:40].any(axis=2)  # without most of the forearm
        columns.append(np.nonzero(upper)[1].mean())
    assert columns[1] < columns[0] - 10


@pytest.mark.parametrize("style", ["training", "validation"])
def test_a_clip_follows_from_seed_style_and_index(style):
    first = SyntheticClips(60, style, seed=3).clip(31, size=32)
    again = SyntheticClips(99, style, seed=3).clip(31, size=32)
    other_seed = SyntheticClips(60, style, seed=4).clip(31, size=32)
    assert first.shape == (36, 32, 32, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other_seed).mean() > 0.5


def test_styles_share_no_look():
    assert not set(SKIN_TONES["training"]) & set(SKIN_TONES["validation"])
    assert not set(BACKGROUNDS["training"]) & set(BACKGROUNDS["validation"])
    rng = np.random.default_rng(0)
    for style, parity in (("training", 0), ("validation", 1)):
        drawn = np.array([draw_in_bands(rng, 2.0, 3.0, style) for _ in range(500)])
        bands = ((drawn - 2.0) * BANDS).astype(int)
        assert set(bands % 2) == {parity}
        sizes = [draw_look(rng, style).hand.palm_length for _ in range(50)]
        assert len(set(sizes)) == 50


def test_every_class_renders_and_no_two_look_alike():
    clips = SyntheticClips(len(LABELS), "training", seed=1)
    rendered = [clips.clip(index, size=24) for index in range(len(LABELS))]
    assert all(clip.std() > 5 for clip in rendered)
    for first in range(len(LABELS)):
        for second in range(first):
            assert (rendered[first] != rendered[second]).mean() > 0.3


def test_no_gesture_is_still_and_the_others_move():
    clips = SyntheticClips(10 * len(LABELS), "validation", seed=2)

    def motion(label: str) -> float:
        changes = []
        for turn in range(4):
            index = LABELS.index(label) + turn * len(LABELS)
            changes.append(np.abs(np.diff(clips.clip(index, 32).astype(int), axis=0)).mean())
        return float(np.mean(changes))

    still = motion(NO_GESTURE)
    assert all(motion(label) > still for label in ("Swiping Left", "Shaking Hand"))


def test_a_training_window_holds_its_gesture_or_is_no_gesture(monkeypatch):
    seen = []
    render = Take.render
    monkeypatch.setattr(
        Take, "render", lambda self, *rest: (seen.append(self), render(self, *rest))[1]
    )
    clips = SyntheticClips(540, "training", seed=0)
    edges = others = after_others = 0
    for index in range(540):
        sample = clips.window(index, SPEC)
        *before, newest = seen.pop().performances or [None]
        label, seconds = LABELS[sample.target], SPEC.span_s
        after_others += len(before)
        if newest is None:
            assert label == NO_GESTURE
        elif label == NO_GESTURE:
            assert newest.visible(0.0, seconds) <= 0.46
            edges += 1
            if before:  # so much of the next is a sign that the one before is over
                assert newest.visible(0.0, seconds) >= 0.09
        elif label == OTHER_THINGS:
            assert newest.label in DISTRACTORS
            assert newest.visible(0.0, seconds) >= 0.39
            others += 1
        else:
            assert newest.label == label == LABELS[clips.target(index)]
            assert newest.visible(0.0, seconds) >= 0.85
        assert all(one.gone_s <= newest.enter_s - BEFORE_REST_S[0] + 1e-6 for one in before)
    assert edges == pytest.approx(540 / EDGE_EVERY, abs=8)
    assert others == pytest.approx(540 / OTHER_EVERY + 540 / 27, abs=8)
    assert after_others == pytest.approx(540 * BEFORE_PART, rel=0.2)


def test_windows_of_validation_keep_the_label_of_their_clip():
    clips = SyntheticClips(54, "validation", seed=0)
    assert [clips.window(index, SPEC).target for index in range(54)] == list(range(27)) * 2
    assert clips.window(0, SPEC).frames.shape == SPEC.clip_shape


def test_a_stream_has_rests_between_gestures_and_times_within_it():
    labels = choose_gestures(6, seed=5)
    stream = render_stream(labels, seed=5, frame_rate_hz=12.0, height=24, width=32)
    frames = np.stack(list(stream.frames))
    assert frames.shape == (len(stream.times_s), 24, 32, 3)
    assert [gesture.label for gesture in stream.truth] == labels
    ends = [0.0, *(gesture.end_s for gesture in stream.truth)]
    starts = [*(gesture.start_s for gesture in stream.truth), stream.times_s[-1] + 1 / 12]
    rests = np.array(starts) - np.array(ends)
    assert rests.min() >= REST_S[0] - 0.1
    assert rests.max() <= REST_S[1] + 0.1


def test_a_session_has_its_gestures_some_twice_and_distractors_that_are_not_in_the_truth():
    repeats = distractors = short = 0
    for seed in range(20):
        labels, rests_s = plan_session(12, seed)
        assert len(rests_s) == len(labels) + 1
        gestures = [label for label in labels if label not in DISTRACTORS]
        assert len(gestures) == 12
        repeats += sum(one == other for one, other in itertools.pairwise(labels))
        distractors += len(labels) - 12
        short += sum(rest < 1.2 for rest in rests_s)
    assert 15 <= repeats <= 45
    assert 40 <= distractors <= 80
    assert short >= 40
    labels, rests_s = plan_session(4, 3)
    stream = render_stream(labels, 3, frame_rate_hz=5.0, height=24, width=32, rests_s=rests_s)
    assert [one.label for one in stream.truth] == [x for x in labels if x not in DISTRACTORS]
    assert stream.truth[0].start_s >= rests_s[0]


def test_every_distractor_looks_like_no_other_motion():
    progress, variation = np.linspace(0, 1, 9), draw_variation(np.random.default_rng(0))
    poses = [gesture_poses(label, progress, variation) for label in (*DISTRACTORS, *LABELS[1:])]
    for first in range(len(poses)):
        for second in range(first):
            assert np.abs(poses[first] - poses[second]).max() > 0.1


def test_a_stream_shows_all_gestures_before_one_comes_again():
    labels = choose_gestures(30, seed=1)
    assert len(set(labels[:25])) == 25
    assert not set(labels) & set(BACKGROUND_LABELS)


def test_the_video_command_writes_video_and_truth(tmp_path, capsys):
    import cv2

    video = tmp_path / "show.mp4"
    arguments = ["--output", str(video), "--gestures", "2", "--size", "64", "48", "--seed", "7"]
    assert main(arguments) == 0
    truth = load_truth(tmp_path / "show.truth.jsonl")
    lines = (tmp_path / "show.truth.jsonl").read_text().splitlines()
    assert [set(json.loads(line)) for line in lines] == [{"start_s", "end_s", "label"}] * 2
    capture = cv2.VideoCapture(str(video))
    lasting_s = capture.get(cv2.CAP_PROP_FRAME_COUNT) / capture.get(cv2.CAP_PROP_FPS)
    assert 0.0 < truth[0].start_s < truth[-1].end_s < lasting_s
    assert capture.read()[1].shape == (48, 64, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["show.mp4", "show.truth.jsonl"]
    assert "show.truth.jsonl" in capsys.readouterr().out


def test_the_video_command_refuses_what_it_cannot_write(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["--output", str(tmp_path / "file" / "a.mp4"), "--gestures", "1"]) == 1
    assert main(["--output", str(tmp_path / "a.mp4"), "--seed", "-1"]) == 2
    assert capsys.readouterr().err.count("\n") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_rendering_needs_no_torch():
    code = "import sys, clipedge.trainside.data.synthetic; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0

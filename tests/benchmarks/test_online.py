"""The study of live recognition: its rules, its tuning and one small run of all of it."""

import json
import sys

import numpy as np
import pytest

from clipedge.benchmarks import online
from clipedge.benchmarks.online_report import new_document, row, tables
from clipedge.benchmarks.online_rules import (
    TSM_CLIPS,
    agreement,
    argmax_with_threshold,
    best_threshold,
    judge,
    ours,
    tsm_smoothing,
)
from clipedge.benchmarks.online_sessions import RENDERED_HZ, Scored, Tap, seeds_of
from clipedge.benchmarks.online_tuning import merit, tuned
from clipedge.jetson.recogniser_settings import (
    BACKGROUND_LABELS,
    RecogniserSettings,
    settings_from_json,
)
from clipedge.jetson.spec import ClipSpec
from clipedge.jetson.truth import TrueGesture

LABELS = ("Swiping Left", "Swiping Right", "No gesture", "Doing other things")
LEFT, RIGHT, NOTHING, OTHER = LABELS
CLIPS_HZ = 12.0


def scored(script, truth=()):
    """A recording whose clips have these labels: (label, share, seconds) one after the other."""
    rows = []
    for label, share, seconds in script:
        scores = np.full(len(LABELS), (1.0 - share) / (len(LABELS) - 1))
        scores[LABELS.index(label)] = share
        rows += [np.log(scores)] * round(seconds * CLIPS_HZ)
    times_s = [number / CLIPS_HZ for number in range(len(rows))]
    return Scored(list(truth), times_s, np.array(rows, np.float32), len(rows) / CLIPS_HZ)


def names(rule, recording):
    return [event.label for event in rule.events(LABELS, recording)]


GESTURE = TrueGesture(2.0, 3.5, LEFT)
CLEAN = scored([(NOTHING, 0.97, 2.3), (LEFT, 0.97, 2.0), (NOTHING, 0.97, 2.0)], [GESTURE])
# The right label comes and goes, as clips of the gesture's edges say something else.
RESTLESS = scored(
    [(NOTHING, 0.97, 2.0), (RIGHT, 0.6, 0.17), (LEFT, 0.9, 0.5), (RIGHT, 0.6, 0.17)]
    + [(LEFT, 0.9, 1.0), (NOTHING, 0.97, 2.0)],
    [GESTURE],
)


def test_argmax_names_every_change_to_a_gesture():
    rule = argmax_with_threshold(0.5, BACKGROUND_LABELS)
    assert names(rule, CLEAN) == [LEFT]
    assert names(rule, RESTLESS) == [RIGHT, LEFT, RIGHT, LEFT]
    assert names(argmax_with_threshold(0.7, BACKGROUND_LABELS), RESTLESS) == [LEFT, LEFT]
    assert names(argmax_with_threshold(0.98, BACKGROUND_LABELS), CLEAN) == []


def test_the_tsm_demos_smoothing_takes_half_its_window_and_holds_out_against_glimpses():
    rule = tsm_smoothing(BACKGROUND_LABELS)
    assert names(rule, RESTLESS) == [LEFT]
    (event,) = rule.events(LABELS, CLEAN)
    assert event.time_s == pytest.approx(2.3 + TSM_CLIPS / 2 / CLIPS_HZ, abs=0.2)


def test_the_tsm_demos_smoothing_takes_a_gesture_made_twice_for_one():
    twice = scored([(LEFT, 0.97, 1.5), (NOTHING, 0.6, 0.3), (LEFT, 0.97, 1.5)])
    assert names(tsm_smoothing(BACKGROUND_LABELS), twice) == [LEFT]


def test_the_recogniser_is_judged_as_it_runs():
    found = judge(ours(RecogniserSettings()), LABELS, [CLEAN, RESTLESS])
    assert (found.gestures, found.right, found.events) == (2, 2, 2)
    assert found.levenshtein_accuracy == found.f1 == 1.0


def test_a_gesture_under_way_at_the_end_is_named():
    cut = scored([(NOTHING, 0.97, 2.0), (LEFT, 0.97, 0.5)], [TrueGesture(2.0, 2.5, LEFT)])
    settings = RecogniserSettings(threshold=0.3, early_lead=1.0, decide_s=9.0)
    assert names(ours(settings), cut) == [LEFT]


def test_argmax_is_compared_with_the_threshold_that_suits_it_best():
    threshold = best_threshold(LABELS, [CLEAN, RESTLESS], BACKGROUND_LABELS)
    best = judge(argmax_with_threshold(threshold, BACKGROUND_LABELS), LABELS, [CLEAN, RESTLESS])
    for other in (0.1, 0.5, 0.8):
        rule = argmax_with_threshold(other, BACKGROUND_LABELS)
        found = judge(rule, LABELS, [CLEAN, RESTLESS])
        assert best.levenshtein_accuracy >= found.levenshtein_accuracy


def test_tuning_finds_settings_that_name_what_the_first_ones_missed():
    deaf = RecogniserSettings(threshold=0.99)
    start = judge(ours(deaf), LABELS, [CLEAN, RESTLESS])
    assert start.events == 0
    done = []
    best, found = tuned(
        LABELS, [CLEAN, RESTLESS], deaf, 60, progress=lambda *counts: done.append(counts)
    )
    assert found.levenshtein_accuracy == 1.0
    assert merit(found) > merit(start)
    assert found == judge(ours(best), LABELS, [CLEAN, RESTLESS])
    assert best == best.validate(LABELS)
    assert done[-1][1] == 60


def test_agreement_counts_events_that_differ():
    rule = argmax_with_threshold(0.5, BACKGROUND_LABELS)
    assert agreement(rule, LABELS, [CLEAN], [CLEAN]) == 1.0
    assert agreement(rule, LABELS, [CLEAN], [RESTLESS]) == 0.25


def test_a_tap_keeps_scores_and_names_nothing():
    tap = Tap(LABELS)
    logits = np.array([9, 0, 0, 0], np.float32)
    assert [tap.update(logits, time_s) for time_s in (0.0, 1.0, 2.0)] == [None] * 3
    logits[:] = 0.0  # the live path writes the next ones there
    kept = tap.scored([GESTURE], 3.0)
    assert kept.times_s == [0.0, 1.0, 2.0]
    assert kept.logits[:, 0].tolist() == [9.0] * 3
    assert tap.finish() is None


def test_as_many_sessions_are_made_as_hold_the_gestures():
    assert list(seeds_of(5, 1)) == [5]
    assert len(seeds_of(0, 216)) * len(seeds_of(0, 1)) >= 18  # looks


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--seed", str(online.TUNING_SEED)], "sessions that rules are tuned on"),
        (["--camera-rates", "120"], "sessions have 60 pictures a second"),
        (["--write", "x.json"], "--write goes with --tune"),
        (["--gestures", "0"], "not a whole number above 0"),
    ],
)
def test_calls_that_cannot_be_meant_are_refused(flags, told, capsys):
    assert online.main(["--model", "none.onnx"] + flags) == 2
    assert told in capsys.readouterr().err


def test_the_tables_show_every_rule_and_rate():
    found = judge(ours(RecogniserSettings()), LABELS, [CLEAN])
    study = new_document({})
    study["recordings"] = {"test": {"recordings": 1, "gestures": 1, "seconds": 6.3, "clips": 76}}
    study["rules"] = [row("recogniser", found)]
    study["camera_rates"] = [row("12 fps", found, alike=1.0), row("60 fps", found, alike=0.9)]
    text = tables(study)
    for line in ("recogniser", "12 fps", "60 fps", "test: 1 gestures in 1 sessions of 6 s"):
        assert line in text
    assert "0.900" in text


@pytest.fixture
def small_sessions(monkeypatch):
    """Sessions of two gestures and small pictures."""
    if sys.version_info < (3, 10):
        pytest.skip("sessions are drawn with Python 3.10 or newer")
    pytest.importorskip("onnxruntime")
    sessions = pytest.importorskip("clipedge.benchmarks.online_sessions")
    for name, value in (("GESTURES", 2), ("HEIGHT", 24), ("WIDTH", 32), ("RENDERED_HZ", 30.0)):
        monkeypatch.setattr(sessions, name, value)


def test_the_whole_study_runs_on_a_tiny_model(small_sessions, model_writer, tmp_path, capsys):
    from clipedge.trainside.data.gestures import LABELS as JESTER

    spec = ClipSpec("tiny", JESTER, size=16, dataset="drawn")
    model = model_writer(tmp_path / "tiny.onnx", spec)
    flags = ["--model", str(model), "--gestures", "2", "--tuning-gestures", "2", "--tune", "3"]
    flags += ["--camera-rates", "12", "30", "--write", str(tmp_path / "new.json")]
    flags += ["--json", str(tmp_path / "study.json"), "--backend", "onnxruntime", "--threads", "1"]
    assert online.main(flags) == 0
    study = json.loads((tmp_path / "study.json").read_text())
    assert study["complete"]
    assert study["recordings"]["test"]["gestures"] == 2
    assert not set(study["recordings"]["test"]["seeds"]) & set(
        study["recordings"]["tuning"]["seeds"]
    )
    assert len(study["rules"]) == 3
    assert [one["name"] for one in study["camera_rates"]] == ["12 fps", "30 fps"]
    assert "argmax with threshold" in capsys.readouterr().out
    written = settings_from_json((tmp_path / "new.json").read_text())
    assert "2 generated gestures in 1 sessions with tiny.onnx" in written.tuned_on


def test_a_model_of_other_labels_is_refused_before_anything_is_drawn(
    small_sessions, tiny_model, capsys
):
    assert online.main(["--model", str(tiny_model), "--backend", "onnxruntime"]) == 2
    assert "27 labels" in capsys.readouterr().err


def test_videos_with_truth_are_measured_with_a_model_of_any_labels(tiny_model, tmp_path, capsys):
    cv2 = pytest.importorskip("cv2")
    pytest.importorskip("onnxruntime")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for number in range(40):
            picture = np.full((20, 30, 3), number * 6, np.uint8)
            cv2.imwrite(str(tmp_path / name / f"{number:03}.png"), picture)
        (tmp_path / f"{name}.truth.jsonl").write_text(
            '{"start_s": 0.5, "end_s": 2.5, "label": "wave"}\n'
        )
    videos = [str(tmp_path / name) for name in ("one", "two")]
    flags = ["--model", str(tiny_model), "--backend", "onnxruntime", "--video"] + videos
    assert online.main(flags + ["--json", str(tmp_path / "study.json")]) == 0
    study = json.loads((tmp_path / "study.json").read_text())
    assert [one["name"] for one in study["videos"]] == ["one", "two", "all"]
    assert study["videos"][2]["gestures"] == 2
    assert study["rules"] == []
    assert "one" in capsys.readouterr().out


def test_a_recording_is_filmed_at_every_rate_by_time(small_sessions):
    from clipedge.benchmarks.online_sessions import _Camera

    class Eye(_Camera):
        def __init__(self, rate_hz):
            self._rate_hz, self._rendered_hz, self._number, self.seen = rate_hz, 30.0, 0, []

            class Feed:
                pass

            self._feed = Feed()
            self._steps = iter([None] * 1000)

        def see(self, number, image):
            before = self._number
            super().see(number, image)
            if self._number > before:
                self.seen.append(self._feed.frame.timestamp_s)

    for rate_hz in (12.0, 15.0, 25.0, 30.0):
        eye = Eye(rate_hz)
        for number in range(120):
            eye.see(number, None)
        wanted = np.arange(len(eye.seen)) / rate_hz
        assert len(eye.seen) == pytest.approx(120 / 30.0 * rate_hz, abs=1)
        assert np.abs(np.array(eye.seen) - wanted).max() <= 0.5 / 30.0 + 1e-9
    assert RENDERED_HZ == 60.0

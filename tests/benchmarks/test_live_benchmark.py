"""The benchmark of the live path: what it times, beside what, and what is told of it."""

import json

import numpy as np
import pytest

from clipedge.benchmarks import live as module
from clipedge.benchmarks.live_report import PARTS, case_figures, table_text
from clipedge.benchmarks.paper_clips import ClipsByPil
from clipedge.benchmarks.study import write_study
from clipedge.jetson.preprocess import Preprocessor
from clipedge.jetson.spec import ClipSpec

pytest.importorskip("cv2", reason="OpenCV is not installed")

SPEC = ClipSpec(model="none", labels=("a",), size=16)
CASES = [module.Case(48, 36, 12.0, 0.0), module.Case(48, 36, 30.0, 1 / 12.0)]


@pytest.fixture(scope="module")
def study():
    return module.measure(CASES, size=16, turns=2)


def test_every_case_and_part_is_timed_in_every_turn(study):
    assert study["complete"]
    for case in study["cases"]:
        assert len(case["turns"]) == 2
        for turn in case["turns"]:
            assert len(turn["frame_ms"]) == module.FRAMES_A_TURN
            assert min(turn["frame_ms"]) > 0
    each_frame, twelve_hz = (case["turns"][0]["clip_ms"] for case in study["cases"])
    assert len(each_frame) == module.FRAMES_A_TURN - 1
    assert len(twelve_hz) == pytest.approx(module.FRAMES_A_TURN * 12 / 30, abs=2)
    for turn in study["parts"]:
        assert list(turn[0]["median_ms"]) == list(PARTS)


def test_the_document_is_json_and_the_table_has_a_row_for_each_case(study, tmp_path):
    write_study(tmp_path / "live.json", study)
    written = json.loads((tmp_path / "live.json").read_text())
    assert written["schema"] == "clipedge.live/1"
    text = table_text(written)
    rows = [line.split("  ")[0] for line in text.splitlines()]
    assert (
        rows.count("48 x 36, 12 Hz") == rows.count("48 x 36, 30 Hz") == rows.count("48 x 36") == 1
    )
    assert "preprocess  push  clip  runner  recogniser" in text


def test_figures_are_medians_and_ratios_within_a_turn():
    turns = [
        {"frame_ms": [1.0, 1.0, 9.0], "clip_ms": [2.0, 2.0, 10.0], "pil_clip_ms": [20.0, 30.0]},
        {"frame_ms": [1.0, 2.0, 2.0], "clip_ms": [4.0, 4.0, 4.0], "pil_clip_ms": [40.0]},
    ]
    figures = case_figures({"turns": turns})
    assert figures["frame_ms"] == 1.5
    assert figures["clip_ms"] == 3.0
    assert figures["pil_clip_ms"] == 32.5
    assert figures["ratios"] == [12.5, 10.0]


def test_without_pil_the_table_says_so(study, monkeypatch):
    monkeypatch.setattr(ClipsByPil, "of", classmethod(lambda cls, pictures, spec: None))
    without = module.measure(CASES[:1], size=16, turns=1)
    assert not without["pil"]
    assert case_figures(without["cases"][0])["ratios"] is None
    assert "PIL is not installed" in table_text(without)


def test_pil_makes_the_clips_that_the_live_path_makes_but_for_the_mean_and_the_filter():
    pytest.importorskip("PIL", reason="Pillow is not installed")
    rows, columns = np.mgrid[0:37, 0:50]
    picture = np.stack([rows * 3, columns * 2 + 50, np.full_like(rows, 40)], axis=2).astype(
        np.uint8
    )
    clip = ClipsByPil.of([picture], SPEC).clip()
    assert clip.shape == (1, 3, 16, 16, 16)
    assert clip.dtype == np.float32
    mean = np.array(SPEC.mean, np.float32)[:, None, None]
    for frame in clip[0].transpose(1, 0, 2, 3):
        assert np.abs(frame + mean - Preprocessor(SPEC)(picture)).mean() < 1


def test_opencvs_threads_are_as_before(study):
    import cv2

    before = cv2.getNumThreads()
    module.measure(CASES[:1], size=16, turns=1)
    assert cv2.getNumThreads() == before


def test_the_command_prints_the_table_and_writes_the_document(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "PICTURES", ((48, 36),))
    path = tmp_path / "live.json"
    assert module.main(["--size", "16", "--turns", "1", "--json", str(path)]) == 0
    assert capsys.readouterr().out.count("48 x 36, 30 Hz") == 2
    assert len(json.loads(path.read_text())["cases"]) == 3

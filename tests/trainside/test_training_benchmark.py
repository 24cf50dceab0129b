"""The benchmark of training: a plain loop that does the same, and a report that adds up."""

import json
import time

import numpy as np
import pytest
import torch

from clipedge.benchmarks import training, training_part
from clipedge.benchmarks.plain_loop import PlainClips
from clipedge.benchmarks.training_report import summarise, table_text
from clipedge.benchmarks.training_tree import FRAMES, HEIGHT, WIDTH, write_tree
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.trainside.data.augmentation import Augmentation
from clipedge.trainside.data.clips import TrainingClips
from clipedge.trainside.data.footage import with_footage
from clipedge.trainside.loading import MicroBatches
from clipedge.trainside.normalisation import normalise

TINY = ["--model", "shufflenetv2", "--width", "0.25", "--size", "32", "--batch", "4"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Eight short recordings as Jester's, and one for validation."""
    folder = tmp_path_factory.mktemp("tree")
    write_tree(folder, 8, frames=20)
    return folder


def run_here(settings, scratch):
    """Run a part as its process does, without the seconds that a process takes to import torch."""
    told = {**settings, "scratch": str(scratch), "result": str(scratch / "result.json")}
    (scratch / "settings.json").write_text(json.dumps({**told, "spawned_s": time.time()}))
    assert training_part.main([str(scratch / "settings.json")]) == 0
    return json.loads((scratch / "result.json").read_text())


@pytest.fixture(scope="module")
def document(tree, tmp_path_factory):
    """What a whole run writes; the plain loop is in a process of its own, as all parts usually."""
    path = tmp_path_factory.mktemp("report") / "training.json"
    arguments = ["--data", str(tree), "--clips", "4", "--epochs", "1", "--repeats", "1"]
    real = training.run_part
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            training,
            "run_part",
            lambda settings, scratch: (real if settings["part"] == "plain" else run_here)(
                settings, scratch
            ),
        )
        assert training.main([*TINY, *arguments, "--json", str(path)]) == 0
    return json.loads(path.read_text())


def test_a_run_gives_a_complete_report(document):
    assert document["schema"] == "clipedge.training/1"
    assert document["complete"]
    assert document["machine"]["logical_cores"] >= 1
    assert document["load_average_at_start"] is not None
    assert {"torch", "lightning", "cv2", "PIL"} <= set(document["packages"])
    assert document["settings"]["clips"] == document["settings"]["batch"] == 4
    assert all(figure["least"] > 0 for figure in document["clips_per_s"].values())
    assert all(0 < seconds < 600 for seconds in document["start_up_s"].values())
    assert document["turns"][0]["our both"]["processes"] == 1  # 4 clips are too few to share


def test_the_table_has_the_document_s_figures(document):
    text = table_text(document)
    for title, row in document["ratios"].items():
        (line,) = [one for one in text.splitlines() if one.startswith(f"{title}  ")]
        assert f"  {row['ratio']:.2f}  " in line
    for name in ("our both", "our step, bf16", "plain both"):
        assert f"{document['clips_per_s'][name]['median']:.1f}" in text
    assert f"load average {document['load_average_at_start']}" in text
    assert f"fit {document['start_up_s']['ours']:.1f} s" in text


def turn(factor):
    """Figures as if measured: 60 clips, a plain pass in 6 s, ours in 3 s, times ``factor``."""
    ours = {"clips": 60, "first_s": 4.0, "epochs_s": [2.0 * factor, 3.0 * factor, 90.0]}
    plain = {"clips": 60, "started_s": 2.0, "loader_s": [3.0], "step_s": [3.0]}
    parts = {part.name: {**ours, "started_s": 9.0} for part in training.PARTS}
    return {**parts, "plain": {**plain, "both_s": [6.0]}}


def test_ratios_are_those_of_the_medians_of_all_turns():
    summary = summarise([turn(1.0), turn(2.0), turn(0.5)])
    assert summary["clips_per_s"]["plain both"]["median"] == pytest.approx(10.0)
    assert summary["clips_per_s"]["our both"] == {"median": 20.0, "least": 10.0, "most": 40.0}
    assert summary["ratios"]["both"] == {"ratio": 2.0, "least": 1.0, "most": 4.0}
    assert summary["start_up_s"] == {"ours": 9.0, "plain": 2.0}


def test_the_plain_loop_reads_the_same_clips(tree):
    """They differ by what PIL's scaling differs from OpenCV's."""
    catalog = training_part.open_part(str(tree), "auto", 8, 4)
    _, spec = training_part.make_model("shufflenetv2", 0.25, 64, catalog)
    augmentation = Augmentation(crop="random")
    ours = TrainingClips(catalog, spec, augmentation, 3)
    plain = PlainClips(catalog, spec, augmentation, 3)
    for epoch, number in ((0, 1), (2, 5)):
        sample = ours[epoch, number]
        clip, target = plain.clip(epoch, number)
        assert target == sample.target
        assert clip.is_contiguous()
        expected = normalise(torch.from_numpy(sample.frames)[None], spec)[0]
        assert (clip - expected).abs().mean() < 3.0
    moved = normalise(torch.from_numpy(ours[3, 1].frames)[None], spec)[0]
    assert (plain.clip(0, 1)[0] - moved).abs().mean() > 6.0
    (order,) = [MicroBatches(8, 8, 1, 0, 1, 0)]
    ((clips, targets),) = plain.batches(order)
    assert clips.shape == (8, *spec.clip_shape)
    assert sorted(targets.tolist()) == sorted(one.target for one in catalog.recordings)


def test_the_plain_loop_reads_videos_too(classes):
    catalog = training_part.open_part(str(classes), "auto", 4, 4)
    _, spec = training_part.make_model("shufflenetv2", 0.25, 36, catalog)
    augmentation = Augmentation(scales=(1.0,), crop="center")
    clip, _ = PlainClips(catalog, spec, augmentation, 0).clip(0, 1)
    expected = TrainingClips(catalog, spec, augmentation, 0)[0, 1].frames
    pixels = clip + torch.tensor(spec.mean).view(3, 1, 1, 1)
    assert (pixels - torch.from_numpy(expected)).abs().mean() < 3.0


def test_the_generated_data_set_is_shaped_as_jester(tree):
    catalog = training_part.open_part(str(tree), "auto", 192, 4)
    assert (catalog.name, len(catalog), len(catalog.labels)) == ("jester", 8, 27)
    shapes = with_footage(
        catalog.recordings[0],
        12.0,
        lambda footage: [one.shape for one in footage.read(np.arange(20))],
    )
    assert set(shapes) == {(HEIGHT, WIDTH, 3)}
    assert FRAMES == 37


def test_recordings_are_taken_from_all_over_the_data_set(tree):
    whole = training_part.open_part(str(tree), "auto", 8, 4)
    half = training_part.open_part(str(tree), "auto", 5, 4)
    assert half.recordings == whole.recordings[::2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--batch", "9"], "fewer than a batch of 9"),
        (["--batch", "1"], "batch normalisation"),
        (["--model", "shufflenet"], "did you mean"),
        (["--clips", "0"], "whole number above 0"),
    ],
)
def test_a_wrong_call_is_said_before_anything_is_timed(tree, capsys, arguments, message):
    assert training.main([*TINY, "--data", str(tree), *arguments]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert "turn 1" not in said.err
    assert said.out == ""


def test_a_folder_in_place_of_the_json_file_is_refused(tree, tmp_path, capsys):
    assert training.main([*TINY, "--data", str(tree), "--json", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_a_part_that_fails_says_what_it_said(tmp_path):
    settings = {"part": "plain", "data": str(tmp_path / "gone"), "layout": "auto", "clips": 4}
    with pytest.raises(ClipedgeError, match=r"'plain' ended with status 2(?s:.*)gone"):
        training.run_part({**settings, "batch": 4}, tmp_path)


def test_too_few_recordings_are_refused(tree):
    with pytest.raises(UsageError, match="8 recordings are fewer than a batch of 16"):
        training_part.open_part(str(tree), "auto", 192, 16)

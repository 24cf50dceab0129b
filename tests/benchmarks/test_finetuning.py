"""The study of fine-tuning: who is trained on what, with which commands, and what is told of it."""

import csv

import pytest

from clipedge.benchmarks import finetuning as module
from clipedge.benchmarks.finetuning_report import conditions, table_text
from clipedge.jetson.errors import ClipedgeError, UsageError

START = module.Start("generated.pt", "shufflenetv1", 0.5, 48)


@pytest.fixture
def listed(tmp_path):
    """The list and its files, which are empty."""
    rows = []
    for condition in ("2m_Clear", "2m_Cluttered"):
        for number, label in enumerate(module.LABELS):
            video = tmp_path / "videos" / condition / f"Test_Clip_{number}.avi"
            video.parent.mkdir(parents=True, exist_ok=True)
            video.write_bytes(b"")
            rows.append([f"{condition}/{video.name}", label, condition])
    with (tmp_path / "videos" / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["video", "label", "condition"]] + rows)
    return tmp_path / "videos"


def test_only_the_chosen_conditions_are_laid_out_and_nothing_of_them_is_held_back(listed, tmp_path):
    videos = module.read_list(listed)
    assert len(videos) == 10
    module.lay_out(videos, ["2m_Clear"], tmp_path / "training")
    lines = (tmp_path / "training" / "split.csv").read_text().split("\n")
    assert "circle clockwise/2m_Clear_Test_Clip_2.avi,training" in lines
    links = [path for path in (tmp_path / "training").glob("*/*.avi")]
    assert len(links) == 5
    assert {link.resolve() for link in links} == {v.path.resolve() for v in videos[:5]}


def test_the_folder_is_read_as_one_whose_videos_are_all_for_training(listed, tmp_path):
    pytest.importorskip("torch")
    folder = pytest.importorskip("clipedge.trainside.data.folder")
    labels = pytest.importorskip("clipedge.trainside.data.labels")
    module.lay_out(module.read_list(listed), ["2m_Clear"], tmp_path / "training")
    training = folder.read_catalog(tmp_path / "training", "training")
    assert len(training) == 5
    assert len(folder.read_catalog(tmp_path / "training", "validation")) == 0
    mirrored = labels.mirrored_labels(training.labels, "swap")
    assert mirrored["circle clockwise"] == "circle counterclockwise"


def test_an_unknown_condition_is_refused_with_those_there_are(listed, tmp_path):
    with pytest.raises(UsageError, match="2m_Clear, 2m_Cluttered"):
        module.lay_out(module.read_list(listed), ["4m_Clear"], tmp_path)


def test_a_folder_without_the_list_or_a_video_is_refused(listed, tmp_path):
    with pytest.raises(UsageError, match=r"clips\.csv"):
        module.read_list(tmp_path)
    (listed / "2m_Clear" / "Test_Clip_3.avi").unlink()
    with pytest.raises(UsageError, match=r"Test_Clip_3\.avi is listed"):
        module.read_list(listed)


def test_testing_on_what_was_trained_on_is_refused(listed, capsys):
    flags = ["--data", str(listed), "--init-from", "x.pt", "--train", "a", "b", "--test", "b"]
    assert module.main(flags) != 0
    assert "share b" in capsys.readouterr().err


def test_the_ways_differ_in_nothing_but_where_they_start():
    def flags(way):
        return module.fit_command(way, START, 1, "DIR", "out.pt", "--epoch-clips 100")

    common = flags(module.SCRATCH)[6:]
    assert "--epoch-clips" in common
    assert flags(module.SCRATCH)[2:6] == ["--model", "shufflenetv1", "--width", "0.5"]
    assert flags(module.FINE_TUNED)[2:] == ["--init-from", "generated.pt"] + common
    assert flags(module.LAST_LAYER)[2:] == (
        ["--init-from", "generated.pt", "--freeze", "backbone"] + common
    )


def test_a_command_that_fails_ends_the_study_with_what_it_said():
    pytest.importorskip("torch")
    with pytest.raises(ClipedgeError, match=r"train-clips fit --epochs no failed: .*--epochs"):
        module._call(["train-clips", "fit", "--epochs", "no"])


def run(way, seed, clip_top1):
    labels = ["a", "b", "c", "d", "e"]
    return {
        "way": way,
        "seed": seed,
        "clips": 20,
        "videos": 10,
        "clip_top1": clip_top1,
        "video_top1": 0.5,
        "fit_seconds": 61.2,
        "confusion": {"labels": labels, "counts": []},
    }


def test_the_table_gives_median_and_range_of_each_way_and_chance():
    study = conditions({})
    parts = (0.4, 0.75, 0.5)
    study["runs"] = [run(module.FINE_TUNED, seed, part) for seed, part in enumerate(parts)]
    study["runs"].append(run(module.SCRATCH, 0, 0.2))
    text = table_text(study)
    assert "50 % (40-75)" in text
    assert "20 % (20-20)" in text
    assert "20 clips of 10 videos; chance is 20 %" in text

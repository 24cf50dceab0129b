"""Jester's official layout: what is found, what is missing, and lists that contradict."""

import os
import shutil

import pytest

from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.trainside.data.jester import read_catalog
from clipedge.trainside.data.labels import JESTER_LABELS


@pytest.fixture
def tree(generated_jester, tmp_path):
    return shutil.copytree(generated_jester, tmp_path / "data")


@pytest.mark.parametrize("name", ["generated_jester", "real_jester"])
def test_the_parts_of_the_layout_are_found_with_labels_in_the_weights_order(name, request):
    root = request.getfixturevalue(name)
    training, validation = (read_catalog(root, part) for part in ("training", "validation"))
    assert training.labels == validation.labels == JESTER_LABELS
    assert len(validation) == 5
    assert len(read_catalog(root, "all")) == len(training) + len(validation)
    rows = dict(line.split(";") for line in (root / "jester-v1-train.csv").read_text().splitlines())
    assert {r.path.name: JESTER_LABELS[r.target] for r in training.recordings} == rows
    assert all((r.path / "00001.jpg").is_file() for r in training.recordings)
    assert {r.frame_rate_hz for r in training.recordings} == {12.0}


def test_the_frames_of_the_real_tree_are_100_pixels_high(real_jester):
    import cv2

    recording = read_catalog(real_jester, "training").recordings[0]
    assert cv2.imread(str(recording.path / "00001.jpg")).shape == (100, 178, 3)


def test_the_frames_folder_may_be_named_itself(tree):
    frames = tree / "20bn-jester-v1"
    assert read_catalog(frames, "training") == read_catalog(tree, "training")
    lists = tree.parent / "lists"
    lists.mkdir()
    for file in tree.glob("*.csv"):
        file.rename(lists / file.name)
    assert len(read_catalog(frames, "training", lists)) == 10
    with pytest.raises(UsageError, match=r"jester-v1-labels\.csv is missing; expected in .*data"):
        read_catalog(frames, "training")


def test_videos_that_are_not_unpacked_are_counted_and_listed(tree):
    shutil.rmtree(tree / "20bn-jester-v1" / "3")
    shutil.rmtree(tree / "20bn-jester-v1" / "12")
    catalog = read_catalog(tree, "training")
    assert len(catalog) == 9
    assert catalog.left_out == (f"{tree}/20bn-jester-v1/3, of jester-v1-train.csv line 3",)
    assert "9 recordings of 27 classes, 0 to 2 a class; left out: 1" in catalog.summary()
    for folder in (tree / "20bn-jester-v1").iterdir():
        shutil.rmtree(folder)
    with pytest.raises(UsageError, match="Not one of the 10 listed videos"):
        read_catalog(tree, "training")


@pytest.mark.parametrize("name", ["labels", "train", "validation"])
def test_a_list_that_is_missing_is_named_with_what_is_there(tree, name):
    (tree / f"jester-v1-{name}.csv").unlink()
    message = rf"jester-v1-{name}\.csv is missing; expected in .* holds 20bn-jester-v1/, jester"
    with pytest.raises(UsageError, match=message):
        read_catalog(tree, "training")


def test_a_frames_folder_that_is_missing_is_named_with_what_is_there(tree):
    (tree / "20bn-jester-v1").rename(tree / "other")
    with pytest.raises(UsageError, match=r"20bn-jester-v1/ is missing.* jester-v1-train.csv"):
        read_catalog(tree, "training")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("99;Swiping Lft", r"train\.csv, line 11: 'Swiping Lft' is not .*mean Swiping Left"),
        ("99", r"train\.csv, line 11: expected 'ID;LABEL', got '99'"),
        ("99,Stop Sign", "line 11: expected 'ID;LABEL'"),
        ("2;Stop Sign", "'2' is listed a second time; it is already in .*train.csv line 2"),
    ],
)
def test_a_line_that_cannot_be_right_is_named(tree, row, message):
    with (tree / "jester-v1-train.csv").open("a") as file:
        file.write(row + "\n")
    with pytest.raises(UsageError, match=message):
        read_catalog(tree, "training")


def test_a_video_of_training_is_not_taken_for_validation_too(tree):
    with (tree / "jester-v1-validation.csv").open("a") as file:
        file.write("2;Swiping Up\n")
    for part in ("training", "validation"):
        with pytest.raises(UsageError, match=r"validation\.csv line 6: '2' is listed a second"):
            read_catalog(tree, part)


def test_lists_of_windows_programs_are_read(tree):
    for file in tree.glob("*.csv"):
        rows = file.read_text().splitlines()
        text = "".join(";".join(f'"{part}"' for part in row.split(";")) + "\r\n" for row in rows)
        if "labels" in file.name:
            text = "\r\n".join(rows)
        file.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n")
    assert len(read_catalog(tree, "training")) == 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1;Swiping Up\n2;Caf\xe9\n", "line 2: this is not UTF-8"),
        (b"\n\n", "is empty"),
        (b'1;"Swiping Up\n2;Swiping Up\n', "not CSV"),
    ],
)
def test_a_list_that_cannot_be_read_is_named(tree, content, message):
    (tree / "jester-v1-train.csv").write_bytes(content)
    with pytest.raises(ClipedgeError, match=rf"jester-v1-train\.csv.*{message}"):
        read_catalog(tree, "training")


def test_no_folder_of_a_video_is_opened(generated_jester, monkeypatch):
    opened = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: opened.append(folder) or scandir(folder))
    assert len(read_catalog(generated_jester, "all")) == 15
    assert opened == [generated_jester / "20bn-jester-v1"]

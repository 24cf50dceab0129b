"""Kinetics-600's layout: names of folders and files, videos that are gone, wrong CSV files."""

import shutil

import pytest

from clipedge.jetson.errors import UsageError
from clipedge.trainside.data.kinetics600 import read_catalog

HEADER = "label,youtube_id,time_start,time_end,split\n"


@pytest.fixture
def tree(generated_kinetics600, tmp_path):
    return shutil.copytree(generated_kinetics600, tmp_path / "data")


def _names(catalog):
    return [
        (recording.path.name, catalog.labels[recording.target]) for recording in catalog.recordings
    ]


@pytest.mark.parametrize("name", ["generated_kinetics600", "real_kinetics600"])
def test_the_parts_are_found_with_labels_in_the_order_of_the_alphabet(name, request):
    root = request.getfixturevalue(name)
    training, validation = (read_catalog(root, part) for part in ("training", "validation"))
    assert training.labels == validation.labels == ("abseiling", "wrapping present")
    assert (len(training), len(validation)) == (2, 1)
    assert len(read_catalog(root, "all")) == 3
    for recording in (*training.recordings, *validation.recordings):
        assert recording.path.parent.name == training.labels[recording.target]
        assert recording.path.is_file()
    assert not training.left_out


def test_the_real_tree_keeps_the_videos_names(real_kinetics600):
    names = [name for name, _ in _names(read_catalog(real_kinetics600, "all"))]
    assert names == [
        "R6llTwEh07w_000005_000015.mp4",
        "SOX5yA1l24A_000012_000022.mp4",
        "WUzgd7C1pWA_000100_000110.mp4",
    ]


@pytest.mark.parametrize("folder", ["wrapping present", "wrapping_present", "Wrapping Present"])
@pytest.mark.parametrize("base", [".", "train", "training"])
@pytest.mark.parametrize("name", ["a-_b3456789_000000_000010.mp4", "a-_b3456789.mp4"])
def test_the_ways_to_name_folders_and_files_lead_to_the_same(tree, folder, base, name):
    found = tree / "train" / "wrapping present" / "a-_b3456789_000000_000010.mp4"
    other = tree / "train" / "abseiling" / "--QUuC4vJs0_000084_000094.mp4"
    for video, place in ((found, tree / base / folder / name), (other, tree / base / "abseiling")):
        place.parent.mkdir(parents=True, exist_ok=True)
        target = place if place.suffix else place / video.name
        target.parent.mkdir(parents=True, exist_ok=True)
        video.rename(tree / "moved.mp4")
        (tree / "moved.mp4").rename(target)
    if base != "train":
        shutil.rmtree(tree / "train")
    assert _names(read_catalog(tree, "training")) == [
        (name, "wrapping present"),
        ("--QUuC4vJs0_000084_000094.mp4", "abseiling"),
    ]


def test_folders_of_parts_without_class_folders_are_read(tree):
    for video in list((tree / "train").glob("*/*.mp4")):
        video.rename(tree / "train" / video.name)
    assert len(read_catalog(tree, "training")) == 2


def test_a_file_cut_to_other_times_is_another_video(tree):
    video = next((tree / "train" / "abseiling").iterdir())
    video.rename(video.with_name("--QUuC4vJs0_000090_000100.mp4"))
    assert len(read_catalog(tree, "training")) == 1


def test_videos_that_are_gone_are_counted_and_listed_and_keep_their_class(tree):
    shutil.rmtree(tree / "train" / "abseiling")
    catalog = read_catalog(tree, "training")
    assert catalog.labels == ("abseiling", "wrapping present")
    assert [recording.target for recording in catalog.recordings] == [1]
    assert catalog.left_out == (
        "abseiling/--QUuC4vJs0_000084_000094.mp4, of kinetics-600_train.csv line 3, is not there",
    )
    shutil.rmtree(tree / "train")
    with pytest.raises(UsageError, match=r"Not one of the 2 listed videos.*wrapping present"):
        read_catalog(tree, "training")


def test_a_line_that_repeats_a_video_gives_no_second_recording(tree):
    with (tree / "kinetics-600_train.csv").open("a") as file:
        file.write("abseiling,--QUuC4vJs0,84,94,train\n")
    catalog = read_catalog(tree, "training")
    assert len(catalog) == 2
    assert "line 4, is already that of kinetics-600_train.csv line 3" in catalog.left_out[0]


def test_a_video_of_training_is_not_taken_for_validation_too(tree):
    shutil.copytree(tree / "train", tree / "val", dirs_exist_ok=True)
    with (tree / "kinetics-600_val.csv").open("a") as file:
        file.write("abseiling,--QUuC4vJs0,84,94,val\n")
    catalog = read_catalog(tree, "validation")
    assert _names(catalog) == [("xyzxyzxyzxy_000007_000017.mp4", "abseiling")]
    assert "is for training in kinetics-600_train.csv line 3" in catalog.left_out[0]


@pytest.mark.parametrize("name", ["train.csv", "kinetics_600_train.csv"])
def test_the_csv_files_may_have_other_names_and_lie_elsewhere(tree, name):
    (tree / "annotations").mkdir()
    (tree / "kinetics-600_train.csv").rename(tree / "annotations" / name)
    assert len(read_catalog(tree, "training")) == 2
    (tree / "annotations").rename(tree.parent / "lists")
    assert len(read_catalog(tree, "training", tree.parent / "lists")) == 2


def test_a_csv_file_that_is_missing_is_named_with_what_is_there(tree):
    (tree / "kinetics-600_val.csv").unlink()
    assert len(read_catalog(tree, "training")) == 2
    with pytest.raises(UsageError, match=r"kinetics-600_val\.csv or .* holds .*train\.csv"):
        read_catalog(tree, "validation")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label,video,time_start,time_end\n", "no column youtube_id or split; .*'label,video,"),
        (HEADER, "lists no videos"),
        (HEADER + "surfing,abc,1\n", "line 2: 3 fields; the first line has 5"),
        (HEADER + "surfing,abc,x,9,val\n", "line 2: time_start and time_end are 'x' and '9'"),
        (HEADER + "surfing,abc,inf,9,val\n", "line 2: time_start and time_end"),
        (HEADER + ",abc,1,9,val\n", "line 2: it has no label"),
        (HEADER + "abseiling,abc,1,9,train\n", "line 2: its split is 'train'"),
        (HEADER + '"abseilin",abc,1,9,validate\n', r"line 2: 'abseilin' is not .*abseiling\?"),
    ],
)
def test_a_csv_file_that_cannot_be_right_is_named(tree, text, message):
    (tree / "kinetics-600_val.csv").write_text(text)
    with pytest.raises(UsageError, match=rf"kinetics-600_val\.csv.*{message}"):
        read_catalog(tree, "validation")


def test_one_class_only_is_an_error(tree):
    (tree / "kinetics-600_train.csv").write_text(HEADER + "surfing,abc,1,11,train\n")
    with pytest.raises(UsageError, match="only the class 'surfing'; at least two"):
        read_catalog(tree, "training")

"""UCF-101's official layout: its splits, what is missing, and lists that contradict."""

import shutil

import pytest

from clipedge.jetson.errors import UsageError
from clipedge.trainside.data.labels import dataset_labels
from clipedge.trainside.data.ucf101 import read_catalog

LABELS = tuple(dataset_labels("ucf101"))


@pytest.fixture
def tree(generated_ucf101, tmp_path):
    return shutil.copytree(generated_ucf101, tmp_path / "data")


@pytest.mark.parametrize("name", ["generated_ucf101", "real_ucf101"])
@pytest.mark.parametrize("split", [1, 2, 3])
def test_a_split_is_found_with_labels_in_the_order_of_their_numbers(name, split, request):
    root = request.getfixturevalue(name)
    training, validation = (
        read_catalog(root, part, split=split) for part in ("training", "validation")
    )
    assert training.labels == validation.labels == LABELS
    assert len(training) == len(validation) == 2
    assert len(read_catalog(root, "all", split=split)) == 4
    for recording in (*training.recordings, *validation.recordings):
        assert recording.path.parent.name == LABELS[recording.target]
        assert recording.path.is_file()
        assert recording.frame_rate_hz is None
    assert not {r.path for r in training.recordings} & {r.path for r in validation.recordings}


def test_the_split_that_is_asked_for_is_read(tree):
    lists = tree / "ucfTrainTestlist"
    (lists / "trainlist02.txt").write_text("Archery/v_Archery_g01_c01.avi 3\n")
    (lists / "testlist02.txt").write_text("Biking/v_Biking_g08_c01.avi\n")
    (recording,) = read_catalog(tree, "training", split=2).recordings
    assert recording.path.name == "v_Archery_g01_c01.avi"
    assert recording.target == 2
    assert len(read_catalog(tree, "training", split=1)) == 2
    (lists / "trainlist03.txt").unlink()
    with pytest.raises(UsageError, match=r"trainlist03\.txt is missing; .*classInd\.txt"):
        read_catalog(tree, "training", split=3)
    with pytest.raises(UsageError, match="no split 4; known: 1, 2, 3"):
        read_catalog(tree, "training", split=4)


def test_the_videos_folder_may_be_named_itself_and_the_lists_lie_elsewhere(tree):
    catalog = read_catalog(tree, "training")
    assert read_catalog(tree / "UCF-101", "training") == catalog
    (tree / "ucfTrainTestlist").rename(tree.parent / "lists")
    assert read_catalog(tree, "training", tree.parent / "lists") == catalog
    with pytest.raises(UsageError, match=r"classInd\.txt is missing"):
        read_catalog(tree, "training")


def test_names_that_differ_in_capitals_only_are_the_same_video(tree):
    video = tree / "UCF-101" / "Archery" / "v_Archery_g08_c01.avi"
    video.rename(video.with_name("v_archery_g08_c01.avi"))
    paths = [recording.path.name for recording in read_catalog(tree, "training").recordings]
    assert paths == ["v_archery_g08_c01.avi", "v_Biking_g08_c01.avi"]


def test_videos_that_are_not_there_are_counted_and_listed(tree):
    (tree / "UCF-101" / "Archery" / "v_Archery_g08_c01.avi").unlink()
    catalog = read_catalog(tree, "training")
    assert len(catalog) == 1
    assert len(catalog.left_out) == 1
    assert catalog.left_out[0].endswith("v_Archery_g08_c01.avi, of trainlist01.txt line 1")
    (tree / "UCF-101" / "Biking" / "v_Biking_g08_c01.avi").unlink()
    with pytest.raises(UsageError, match="Not one of the 2 listed videos of ucf101, training"):
        read_catalog(tree, "training")


def test_a_videos_folder_that_is_missing_is_named_with_what_is_there(tree):
    shutil.rmtree(tree / "UCF-101")
    with pytest.raises(UsageError, match=r"UCF-101/ is missing.* holds ucfTrainTestlist/"):
        read_catalog(tree, "training")


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("trainlist01.txt", "Bikin/v_Biking_g09_c01.avi 11", r"line 3: 'Bikin' .*Biking\?"),
        ("trainlist01.txt", "Biking/v_Biking_g09_c01.avi 12", "line 3: 'Biking' has number 12.*11"),
        ("testlist01.txt", "v_Biking_g09_c01.avi", "line 3: expected 'CLASS/VIDEO'"),
        ("testlist01.txt", "Biking/v_Biking_g08_c01.avi", "second time.* trainlist01.txt line 2"),
        ("classInd.txt", "103 Waving", "line 102: expected '102 CLASS', got '103 Waving'"),
        ("classInd.txt", "102 archery", "'Archery' and 'archery' have the same name"),
    ],
)
def test_a_line_that_cannot_be_right_is_named(tree, file, line, message):
    with (tree / "ucfTrainTestlist" / file).open("a") as lines:
        lines.write(line + "\n")
    with pytest.raises(UsageError, match=rf"(?s){file}.*{message}"):
        read_catalog(tree, "training")

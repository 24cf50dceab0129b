"""A folder of classes: what is a class and a video, who is for validation, names that clash."""

import errno
import os
import shutil

import pytest

from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.trainside.data.folder import read_catalog


def _make(root, *names):
    """Make empty videos, or for names that end in / folders of one empty frame."""
    for name in names:
        place = root / name
        if name.endswith("/"):
            place.mkdir(parents=True)
            place = place / "00001.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    return root


def _names(root, part):
    return [r.path.relative_to(root).as_posix() for r in read_catalog(root, part).recordings]


@pytest.fixture
def root(tmp_path):
    return _make(
        tmp_path / "gestures", *(f"{name}/{n}.avi" for name in ("wave", "stop") for n in range(6))
    )


def test_classes_are_in_the_order_of_the_alphabet_and_know_their_videos(root):
    _make(root, "wave/frames/", "stop/notes.txt", "wave/UPPER.MP4", "notes/readme.txt", "a.avi")
    catalog = read_catalog(root, "all")
    assert (catalog.name, catalog.part, catalog.labels) == ("gestures", "all", ("stop", "wave"))
    assert [r.target for r in catalog.recordings] == [0] * 6 + [1] * 8
    assert {"wave/frames", "wave/UPPER.MP4"} <= set(_names(root, "all"))
    assert "notes.txt" not in str(catalog)
    assert catalog.summary() == "gestures, all: 14 recordings of 2 classes, 6 to 8 a class"


def test_hidden_folders_and_files_are_neither_classes_nor_videos(root):
    _make(root, ".cache/v.avi", "wave/.v.avi", "wave/.frames/")
    assert read_catalog(root, "all").labels == ("stop", "wave")
    assert len(read_catalog(root, "all")) == 12


def test_every_fifth_video_is_for_validation_and_none_is_on_both_sides(root):
    training, validation = _names(root, "training"), _names(root, "validation")
    assert validation == ["stop/4.avi", "wave/4.avi"]
    assert "2 recordings of 2 classes, 1 a class" in read_catalog(root, "validation").summary()
    assert sorted(training + validation) == sorted(_names(root, "all"))
    assert not set(training) & set(validation)


def test_a_single_video_of_a_class_is_for_training_and_the_last_of_a_few_is_not(tmp_path):
    _make(tmp_path, "a/1.avi", "b/1.avi", "b/2.avi", "b/3.avi")
    assert _names(tmp_path, "validation") == ["b/3.avi"]
    (tmp_path / "b/2.avi").unlink()
    (tmp_path / "b/3.avi").unlink()
    assert _names(tmp_path, "validation") == []


def test_a_split_file_says_who_is_for_validation(root):
    rows = [
        f"{name}/{n}.avi,{'validation' if n < 2 else 'training'}"
        for name in ("wave", "stop")
        for n in range(6)
    ]
    (root / "split.csv").write_text("\ufefffile,part\r\n" + "\r\n".join(reversed(rows)))
    assert _names(root, "validation") == ["stop/0.avi", "stop/1.avi", "wave/0.avi", "wave/1.avi"]
    assert len(_names(root, "training")) == 8
    assert len(_names(root, "all")) == 12
    (root / "split.csv").rename(root.parent / "split.csv")
    assert len(_names(root, "validation")) == 2
    assert len(read_catalog(root, "validation", root.parent)) == 4
    with pytest.raises(UsageError, match=r"split\.csv is missing; expected in .*wave"):
        read_catalog(root, "validation", root / "wave")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("wave/9.avi,training", "split.csv, line 12: there is no video 'wave/9.avi'"),
        ("stop/5.avi,train", r"line 12: there is no part 'train'; did you mean training\?"),
        ("stop/5.avi,test", "line 12: there is no part 'test'; known: training, validation"),
        ("wave/0.avi,validation", "line 12: 'wave/0.avi' is listed a second .*split.csv, line 2"),
        ("", "does not list 2 of the videos.* the first one is 'stop/4.avi'"),
        ("stop/5.avi", "line 12: 1 fields; the first line has 2"),
    ],
)
def test_a_line_of_the_split_file_that_cannot_be_right_is_named(root, row, message):
    videos = [f"wave/{n}.avi" for n in range(6)] + [f"stop/{n}.avi" for n in range(4)]
    rows = ["file,part", *(f"{video},training" for video in videos), row]
    (root / "split.csv").write_text("\n".join(rows))
    with pytest.raises(UsageError, match=message):
        read_catalog(root, "training")


def test_a_split_file_without_its_columns_says_what_they_are(root):
    (root / "split.csv").write_text("wave/0.avi,training\n")
    with pytest.raises(UsageError, match=r"no column file or part.*Expected the columns file,part"):
        read_catalog(root, "training")


def test_a_class_that_is_never_trained_is_an_error_of_training_only(root):
    rows = [f"wave/{n}.avi,validation\nstop/{n}.avi,training" for n in range(6)]
    (root / "split.csv").write_text("\n".join(["file,part", *rows]))
    with pytest.raises(UsageError, match="'wave' has no video for training"):
        read_catalog(root, "training")
    assert len(read_catalog(root, "validation")) == 6


@pytest.mark.parametrize("sides", [("training", "validation"), ("train", "val")])
def test_folders_say_who_is_for_validation(tmp_path, sides):
    training, validation = sides
    _make(tmp_path, f"{training}/wave/1.avi", f"{training}/stop/1.avi", f"{training}/stop/2.avi")
    _make(tmp_path, f"{validation}/wave/frames/", "test/wave/1.avi")
    assert _names(tmp_path, "validation") == [f"{validation}/wave/frames"]
    assert len(_names(tmp_path, "training")) == 3
    assert len(_names(tmp_path, "all")) == 4
    assert read_catalog(tmp_path, "validation").labels == ("stop", "wave")
    assert read_catalog(tmp_path, "validation").recordings[0].target == 1


def test_folders_of_parts_that_contradict_are_an_error(tmp_path):
    _make(tmp_path, "training/wave/1.avi", "training/stop/1.avi", "validation/wafe/1.avi")
    with pytest.raises(UsageError, match=r"validation: 'wafe' is not .*did you mean wave\?"):
        read_catalog(tmp_path, "validation")
    _make(tmp_path, "point/1.avi")
    with pytest.raises(UsageError, match="beside them point/"):
        read_catalog(tmp_path, "training")
    shutil.rmtree(tmp_path / "point")
    (tmp_path / "split.csv").write_text("file,part\n")
    with pytest.raises(UsageError, match=r"split\.csv says it as well"):
        read_catalog(tmp_path, "training")


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("Wave", "wave", "'Wave' and 'wave'"),
        ("wave", "wave ", "'wave' and 'wave '"),
        ("my wave", "my  wave", "'my  wave' and 'my wave'"),
        ("caf\u00e9", "cafe\u0301", r"'cafe\\u0301' and 'caf\\xe9'"),
    ],
)
def test_two_classes_of_the_same_name_are_an_error_naming_both(tmp_path, first, second, message):
    _make(tmp_path, f"{first}/1.avi", "stop/1.avi")
    _make(tmp_path, f"{second}/1.avi")
    if len([entry for entry in tmp_path.iterdir() if entry.is_dir()]) < 3:
        pytest.skip("this file system holds both names in one folder")
    with pytest.raises(UsageError, match=f"{message} have the same name"):
        read_catalog(tmp_path, "training")


@pytest.mark.parametrize("name", ["wa\nve", "wa\tve", "wa\u2028ve", "wa\x7fve"])
def test_a_class_with_a_control_character_is_an_error(tmp_path, name):
    _make(tmp_path, "stop/1.avi", f"{name}/1.avi")
    with pytest.raises(UsageError, match=r"'wa\\\w+ve' has a control character"):
        read_catalog(tmp_path, "training")


def test_a_class_without_letters_of_our_own_is_none_of_these(tmp_path):
    _make(tmp_path, "\u624b\u3092\u632f\u308b/1.avi", "\U0001f44b\u200d/1.avi")
    assert len(read_catalog(tmp_path, "training").labels) == 2


@pytest.mark.parametrize("make", [(), ("one/",), ("one/", "two/")])
def test_no_videos_in_class_folders_are_an_error_that_says_what_is_there(tmp_path, make):
    for name in make:
        (tmp_path / name).mkdir()
    with pytest.raises(
        UsageError, match=r"no videos in class folders; .*at least two classes"
    ) as e:
        read_catalog(tmp_path, "training")
    assert all(name in str(e.value) for name in make)


def test_one_class_only_is_an_error(tmp_path):
    _make(tmp_path, "one/1.avi", "two/notes.txt")
    with pytest.raises(UsageError, match="only the class 'one'; at least two classes"):
        read_catalog(tmp_path, "training")


def test_a_name_that_is_not_utf8_is_refused(root):
    folder = os.fsdecode(os.fsencode(str(root)) + b"/caf\xe9")
    os.makedirs(folder)
    open(os.path.join(folder, "v.avi"), "w").close()
    with pytest.raises(UsageError, match="cannot be read as UTF-8"):
        read_catalog(root, "training")


def test_a_folder_that_may_not_be_read_is_named(root, monkeypatch):
    scandir = os.scandir

    def refuse(folder):
        if os.fspath(folder).endswith("wave"):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)  # root, as in a container, may read all
    with pytest.raises(ClipedgeError, match="wave: permission denied"):
        read_catalog(root, "training")


def test_no_folder_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="no such folder"):
        read_catalog(tmp_path / "none", "training")

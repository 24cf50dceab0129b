import pathlib

import pytest

from clipedge.jetson.class_folders import ClassFolders
from clipedge.jetson.errors import ClipedgeError, UsageError


def fill(root, **counts):
    for label, count in counts.items():
        folder = root / label.replace("_", " ")
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number}.avi").write_bytes(b"video")
    return ClassFolders(root)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("", "it is empty"),
        ("  ", "it is empty"),
        (" wave", "begins or ends with a blank"),
        ("a/b", "makes a folder everywhere"),
        ("..", "begins with a dot"),
        (".hidden", "begins with a dot"),
        ("what?", "makes a folder everywhere"),
        ("a\nb", "cannot be shown"),
        ("ä" * 101, "longer than 200 bytes"),
        ("wave\udcff", "cannot be shown"),
    ],
)
def test_a_label_that_makes_no_folder_is_refused(tmp_path, label, message):
    with pytest.raises(UsageError) as refused:
        ClassFolders(tmp_path).check_label(label)
    assert message in str(refused.value)


@pytest.mark.parametrize("label", ["swipe left", "Swipe Left", "Swipe_left", "Swipe  left"])
def test_a_second_spelling_of_a_class_is_refused(tmp_path, label):
    with pytest.raises(UsageError, match="already has the class 'Swipe left'"):
        fill(tmp_path, Swipe_left=1).check_label(label)


@pytest.mark.parametrize("label", ["Swipe left", "Swipe right", "手を振る", "Très bien"])
def test_a_class_that_is_there_and_a_new_one_are_taken(tmp_path, label):
    fill(tmp_path, Swipe_left=1).check_label(label)


def test_the_next_number_is_above_every_one_there_is(tmp_path):
    folders = fill(tmp_path, wave=0)
    assert folders.free_path("wave").name == "wave_0001.avi"
    for name in ("wave_0001.avi", "WAVE_0007.mp4", "wave_0003.avi", "other_0100.avi"):
        (tmp_path / "wave" / name).write_bytes(b"")
    (tmp_path / "wave" / "wave_0011").mkdir()
    assert folders.free_path("wave") == tmp_path / "wave" / "wave_0012.avi"
    (tmp_path / "wave" / "wave_12345.avi").write_bytes(b"")
    assert folders.free_path("wave").name == "wave_12346.avi"


def test_what_training_reads_is_counted_and_nothing_else(tmp_path):
    folders = fill(tmp_path, wave=2)
    (tmp_path / "wave" / ".wave_0001.x1.avi").write_bytes(b"half")
    (tmp_path / "wave" / "notes.txt").write_text("x")
    (tmp_path / "wave" / "frames").mkdir()
    (tmp_path / "wave" / "frames" / "1.jpg").write_bytes(b"")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "split.csv").write_text("")
    assert folders.counts() == {"wave": 3}


def test_with_no_class_the_next_step_is_the_first(tmp_path):
    assert "gesture-record --label wave" in ClassFolders(tmp_path / "none").overview()


def test_with_one_class_the_next_step_is_another(tmp_path):
    text = fill(tmp_path, wave=9).overview()
    assert "One class is not enough" in text
    assert "train-clips" not in text


def test_without_a_background_class_one_is_suggested_with_the_reason(tmp_path):
    text = fill(tmp_path, wave=9, swipe=9).overview()
    assert "gesture-record --label 'No gesture'" in text
    assert "every moment looks like some gesture" in text


@pytest.mark.parametrize("name", ["No gesture", "no_gesture", "Doing other things"])
def test_a_background_class_as_the_recogniser_knows_it_is_enough(tmp_path, name):
    folders = fill(tmp_path, wave=9)
    (tmp_path / name).mkdir()
    for number in range(9):
        (tmp_path / name / f"{number}.avi").write_bytes(b"video")
    text = folders.overview()
    assert "every moment" not in text
    assert text.endswith(f"train-clips fit --model shufflenetv1 --width 0.5 --data {tmp_path}")


def test_one_of_the_two_sides_of_a_data_set_leads_to_training_on_both(tmp_path):
    training = fill(tmp_path / "training", wave=9, swipe=9)
    assert training.overview().endswith(f"--data {tmp_path / 'training'}")
    fill(tmp_path / "val", wave=9, swipe=9)
    assert training.overview().endswith(f"--data {tmp_path}")


def test_a_class_of_few_clips_is_named(tmp_path):
    text = fill(tmp_path, wave=9, swipe=3).overview()
    assert "Fewer than 5 clips: 'swipe'" in text


def test_a_folder_with_a_blank_in_its_name_can_be_pasted(tmp_path):
    text = fill(tmp_path / "my gestures", wave=9, swipe=9).overview()
    assert f"--data '{tmp_path / 'my gestures'}'" in text


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ClipedgeError, match="file, not a folder"):
        ClassFolders(tmp_path / "file").counts()


def test_the_only_class_folder_that_goes_is_an_empty_one(tmp_path):
    folders = fill(tmp_path, wave=1, swipe=0)
    for label in ("wave", "swipe", "none"):
        folders.drop_if_empty(label)
    assert [entry.name for entry in tmp_path.iterdir()] == ["wave"]


def test_a_folder_name_that_is_not_utf8_is_refused(tmp_path):
    with pytest.raises(UsageError, match="UTF-8"):
        ClassFolders(pathlib.Path(str(tmp_path)) / "x\udcff")


def test_a_data_set_of_two_sides_is_listed_whole(tmp_path):
    fill(tmp_path / "training", wave=9, swipe=9)
    fill(tmp_path / "validation", wave=2, swipe=3)
    text = ClassFolders(tmp_path).overview()
    rows = [line.split() for line in text.splitlines()]
    assert ["wave", "9"] in rows
    assert ["wave", "2"] in rows
    assert "every fifth" not in text

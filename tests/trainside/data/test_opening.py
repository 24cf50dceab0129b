"""Which layout a folder has, and that it is said."""

import logging
import shutil

import pytest

from clipedge.jetson.errors import UsageError
from clipedge.trainside.data.opening import DataChoice, open_catalog

TREES = {
    "generated_jester": "jester",
    "generated_ucf101": "ucf101",
    "generated_kinetics600": "kinetics600",
}


@pytest.fixture
def plain(tmp_path):
    for name in ("wave/1.avi", "stop/1.avi"):
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).touch()
    return tmp_path / "own"


@pytest.mark.parametrize("name", TREES)
def test_an_official_layout_is_recognised_and_told(name, request, caplog):
    root = request.getfixturevalue(name)
    caplog.set_level(logging.INFO, logger="clipedge")
    catalog = open_catalog(DataChoice(str(root)), "training")
    assert catalog.name == TREES[name]
    assert open_catalog(DataChoice(str(root), TREES[name]), "training") == catalog
    assert f"{root}: {catalog.summary()} (read as {TREES[name]}: found " in caplog.text


def test_a_folder_of_classes_takes_no_data_sets_name(plain):
    plain = plain.rename(plain.with_name("jester"))
    assert open_catalog(DataChoice(str(plain)), "training").name == "jester_folder"


@pytest.mark.parametrize(("name", "inside"), [("jester", "20bn-jester-v1"), ("ucf101", "UCF-101")])
def test_the_folder_of_the_videos_itself_is_recognised(name, inside, request):
    root = request.getfixturevalue(f"generated_{name}")
    assert open_catalog(DataChoice(str(root / inside)), "training").name == name


def test_any_other_folder_is_one_of_classes(plain, caplog):
    caplog.set_level(logging.INFO, logger="clipedge")
    (plain / "train.csv").write_text("a,b\n")  # not one of Kinetics
    assert open_catalog(DataChoice(str(plain)), "training").name == "own"
    assert "read as a folder of classes" in caplog.text


def test_a_folder_of_two_layouts_asks_which(generated_ucf101, generated_jester, tmp_path):
    shutil.copytree(generated_ucf101, tmp_path, dirs_exist_ok=True)
    shutil.copytree(generated_jester, tmp_path, dirs_exist_ok=True)
    with pytest.raises(UsageError, match=r"jester \(20bn.*/\) and ucf101 \(UCF-101/\).*--layout"):
        open_catalog(DataChoice(str(tmp_path)), "training")
    assert open_catalog(DataChoice(str(tmp_path), "ucf101"), "training").name == "ucf101"


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("jester", r"20bn-jester-v1/ is missing.* holds stop/, wave/"),
        ("ucf101", r"UCF-101/ is missing.* holds stop/, wave/"),
        ("kinetics600", r"kinetics-600_train\.csv or .* missing.* holds stop/, wave/"),
        ("jestr", r"Unknown layout 'jestr'; did you mean jester\?"),
    ],
)
def test_a_layout_whose_parts_are_missing_says_what_was_expected(plain, layout, message):
    with pytest.raises(UsageError, match=message):
        open_catalog(DataChoice(str(plain), layout), "training")


def test_only_ucf101_has_numbered_splits(plain, generated_ucf101):
    assert len(open_catalog(DataChoice(str(generated_ucf101), split=3), "training")) == 2
    with pytest.raises(UsageError, match="only UCF-101"):
        open_catalog(DataChoice(str(plain), split=2), "training")


def test_lists_elsewhere_are_recognised_too(generated_kinetics600, tmp_path):
    root = shutil.copytree(generated_kinetics600, tmp_path / "data")
    (tmp_path / "lists").mkdir()
    for file in root.glob("*.csv"):
        file.rename(tmp_path / "lists" / file.name)
    choice = DataChoice(str(root), annotations=str(tmp_path / "lists"))
    assert open_catalog(choice, "validation").name == "kinetics600"


def test_what_is_left_out_is_said_shortly(generated_jester, tmp_path, caplog):
    root = shutil.copytree(generated_jester, tmp_path / "data")
    for number in range(1, 6):
        shutil.rmtree(root / "20bn-jester-v1" / str(number))
    open_catalog(DataChoice(str(root)), "training")
    assert "Left out 5 of the listed videos:" in caplog.text
    assert "... and 2 more" in caplog.text


@pytest.mark.parametrize("given", ["data", "annotations"])
def test_a_folder_that_is_not_there_is_named(plain, given):
    choice = DataChoice(str(plain))._replace(**{given: str(plain / "none")})
    with pytest.raises(UsageError, match="none: there is no such folder"):
        open_catalog(choice, "training")
    (plain / "none").touch()
    with pytest.raises(UsageError, match="none: it is a file; a folder is needed"):
        open_catalog(choice, "training")

"""The recogniser's settings: their file, where it is looked for, and what is refused."""

import json

import pytest

from clipedge.jetson.errors import SpecError, UsageError
from clipedge.jetson.recogniser_settings import (
    RecogniserSettings,
    load_settings,
    settings_from_json,
    settings_path,
)

LABELS = ("Swiping Left", "Swiping Right", "No gesture")
OWN = RecogniserSettings(
    threshold=0.6,
    thresholds={"Swiping Left": 0.7},
    allow=("Swiping Left", "Swiping Right"),
    deny=("swiping_right",),
    tuned_on="forty gestures of mine",
)


def test_settings_come_back_from_their_file_as_they_were(tmp_path):
    path = settings_path(tmp_path / "net_0.5x_mine.onnx")
    assert path.name == "net_0.5x_mine.recogniser.json"
    OWN.save(path)
    assert load_settings(tmp_path / "net_0.5x_mine.onnx", LABELS) == OWN
    assert json.loads(path.read_text())["format_version"] == 1


def test_a_field_that_is_left_out_keeps_its_default():
    assert settings_from_json('{"threshold": 0.6}') == RecogniserSettings(threshold=0.6)


def test_without_a_file_the_defaults_count_and_say_what_they_were_tuned_on(tmp_path):
    settings = load_settings(tmp_path / "net.onnx", LABELS)
    assert settings == RecogniserSettings()
    assert "gestures" in settings.tuned_on


def test_the_file_given_comes_before_the_models_and_that_before_the_folders(tmp_path):
    model, given = tmp_path / "net.onnx", tmp_path / "given.json"
    RecogniserSettings(threshold=0.1).save(tmp_path / "recogniser.json")
    assert load_settings(model, LABELS).threshold == 0.1
    RecogniserSettings(threshold=0.2).save(tmp_path / "net.recogniser.json")
    assert load_settings(model, LABELS).threshold == 0.2
    RecogniserSettings(threshold=0.3).save(given)
    assert load_settings(model, LABELS, given).threshold == 0.3


def test_an_engine_has_the_settings_of_the_network_it_was_built_from(tmp_path):
    RecogniserSettings(threshold=0.2).save(tmp_path / "net_0.5x_mine.recogniser.json")
    for name in ("net_0.5x_mine_fp16.engine", "net_0.5x_mine_fp16_sm62.engine"):
        assert load_settings(tmp_path / name, LABELS).threshold == 0.2
    assert load_settings(tmp_path / "net_0.5x_other.engine", LABELS).threshold != 0.2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nonsense", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"format_version": 2}', "format version 2"),
        ('{"treshold": 0.5}', "no setting 'treshold'; did you mean threshold"),
        ('{"threshold": "high"}', "threshold is 'high'; expected a number, from 0 to 1"),
        ('{"threshold": true}', "threshold is True"),
        ('{"threshold": 1.5}', "threshold is 1.5"),
        ('{"rearm_s": -1}', "rearm_s is -1; expected a number, 0 or more"),
        ('{"rearm_s": NaN}', "rearm_s is nan"),
        ('{"smoothing_s": Infinity}', "smoothing_s is inf"),
        ('{"presence_on": 0.2, "presence_off": 0.4}', "presence_off, 0.4, is above"),
        ('{"deny": "Swiping Left"}', "deny is 'Swiping Left'; expected a list"),
        ('{"allow": [1]}', "expected a list of labels"),
        ('{"background": null}', "background is None"),
        ('{"thresholds": ["Swiping Left"]}', "no object of labels"),
        ('{"thresholds": {"Swiping Left": 2}}', r"thresholds\['Swiping Left'\] is 2"),
        ('{"tuned_on": 3}', "tuned_on is no text"),
        ('{"deny": ["Swiping Lift"]}', "deny names 'Swiping Lift'.*did you mean Swiping Left"),
        ('{"thresholds": {"Wave": 0.5}}', "thresholds names 'Wave', which the model does not have"),
    ],
)
def test_what_makes_no_sense_is_named_with_its_file(tmp_path, text, told):
    path = tmp_path / "net.recogniser.json"
    path.write_text(text)
    with pytest.raises(SpecError, match=told) as error:
        load_settings(tmp_path / "net.onnx", LABELS)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"deny": ("a", "Shaking hand")}, "leave no gesture to name"),
        ({"allow": ("a",), "deny": ("A",)}, "leave no gesture to name"),
        ({"allow": ()}, "leave no gesture to name"),
        ({"allow": ("a", "no_gesture")}, "'no_gesture', which is no gesture"),
        ({"deny": ("Shaking",)}, "did you mean 'Shaking Hand'\\? Put labels with spaces in quotes"),
    ],
)
def test_lists_that_cannot_be_meant_are_refused(settings, told):
    with pytest.raises(SpecError, match=told):
        RecogniserSettings(**settings).validate(("a", "Shaking Hand", "No gesture"))


def test_background_labels_need_not_be_the_models():
    RecogniserSettings(background=("nothing at all",)).validate(LABELS)


def test_a_settings_file_that_was_asked_for_must_be_there(tmp_path):
    with pytest.raises(UsageError, match=r"none\.json: there is no such file"):
        load_settings(tmp_path / "net.onnx", LABELS, tmp_path / "none.json")


def test_a_settings_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "net.recogniser.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        load_settings(tmp_path / "net.onnx", LABELS)

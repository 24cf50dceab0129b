import json

import pytest

from clipedge.jetson.errors import SpecError
from clipedge.jetson.spec import ClipSpec, load_spec, spec_from_dict, spec_from_json

SPEC = ClipSpec(model="shufflenetv1", width=2.0, labels=("Swiping Left", "Sümmen"), dataset="own")


def test_json_brings_back_the_same_spec():
    assert spec_from_json(SPEC.to_json()) == SPEC


def test_a_file_brings_back_the_same_spec(tmp_path):
    SPEC.save(tmp_path / "a.spec.json")
    assert load_spec(tmp_path / "a.spec.json") == SPEC


def test_names_tell_architecture_and_data_set():
    assert SPEC.file_stem == "shufflenetv1_2.0x_own"
    assert SPEC._replace(model="squeezenet", width=None).file_stem == "squeezenet_own"


def test_jester_frames_are_a_sixth_of_a_second_apart():
    assert SPEC.spacing_s == pytest.approx(1 / 6)
    assert SPEC.span_s == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("labels", [], "no labels"),
        ("labels", ["a", "a"], "two labels are the same"),
        ("frames", 0, "frames is not above 0"),
        ("channel_order", "GRB", "neither RGB nor BGR"),
        ("std", [1, 0, 1], "std has not 3 values above 0"),
        ("frames", "16", "damaged"),
        ("labels", "abc", "labels is no list"),
        ("labels", [1, 2], "a label is no text"),
        ("dataset", "../../out", "make no file name"),
        ("colour", 1, "unknown fields: colour"),
        ("format_version", 99, "format version 99"),
    ],
)
def test_damage_is_named(field, value, problem):
    with pytest.raises(SpecError, match=problem):
        spec_from_dict(dict(SPEC.to_dict(), **{field: value}))


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"format_version": 1})])
def test_what_is_no_spec_is_refused(text):
    with pytest.raises(SpecError):
        spec_from_json(text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec(tmp_path / "none.json")

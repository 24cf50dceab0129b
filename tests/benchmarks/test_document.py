"""A document is read by its own schema alone; rows of two documents compare by what was run."""

import json
import sys
import types

import pytest
from stand_ins.bench_documents import example_document, example_row

from clipedge.benchmarks.speed import document as documents
from clipedge.jetson.errors import ClipedgeError, UsageError


def test_a_document_is_read_as_it_was_written(tmp_path):
    document = example_document()
    path = documents.write_document(tmp_path / "bench.json", document)
    assert documents.read_document(path) == json.loads(json.dumps(document))
    assert [one.name for one in tmp_path.iterdir()] == ["bench.json"]


def test_what_this_process_has_loaded_is_not_of_the_machine(monkeypatch):
    monkeypatch.setattr(documents.board, "busy_share", lambda: 0.0)
    before = documents.new_document({})["conditions"]["software"]
    monkeypatch.setitem(sys.modules, "tensorrt", types.SimpleNamespace(__version__="9.9"))
    document = documents.new_document({})
    documents.end_document(document, True)
    assert document["conditions"]["software"] == before
    assert document["conditions_after"]["software"] == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON file"),
        ("[]", "its schema is None, not clipedge.bench/2"),
        ('{"schema": "clipedge.limit/1"}', "is no document of jetson-bench"),
        ('{"schema": "clipedge.bench/1"}', "measure it again with this version"),
        ('{"schema": "clipedge.bench/3"}', "update clipedge"),
        ('{"schema": "clipedge.bench/x"}', "measure it again"),
        ('{"schema": 2}', "is no document of jetson-bench"),
    ],
)
def test_another_schema_is_refused_with_what_to_do(tmp_path, text, message):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        documents.read_document(path)


def test_a_damaged_document_and_none_at_all_are_errors(tmp_path):
    path = tmp_path / "cut.json"
    path.write_text('{"schema": "clipedge.bench/2", "settings": {}}')
    with pytest.raises(ClipedgeError, match=r"damaged: it has no machine .* no rows"):
        documents.read_document(path)
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(UsageError, match="no JSON file"):
        documents.read_document(path)
    with pytest.raises(UsageError, match="does not exist"):
        documents.read_document(tmp_path / "none.json")
    with pytest.raises(ClipedgeError):
        documents.read_document(tmp_path)


def test_rows_compare_by_what_was_run_and_not_by_file_or_version():
    row = example_row()
    assert documents.row_identity(row) == documents.row_identity(
        dict(row, file="elsewhere/x.onnx", backend_version="9.9", clips_per_s=1.0)
    )
    for name, other in (
        ("model", "c3d"),
        ("width", 9.0),
        ("clip_shape", [3, 8, 112, 112]),
        ("backend", "tensorrt"),
        ("precision", "bf16"),
        ("details", {"graph": "conv2d"}),
        ("batch", 3),
        ("streams", 2),
    ):
        changed = dict(row, **{name: other})
        assert documents.row_identity(changed) != documents.row_identity(row), name

"""A document is read by its own schema alone; rows of two documents compare by what was run."""

import json
import sys
import types

import pytest
from stand_ins.bench_documents import example_document, example_failure, example_row

from clipedge.benchmarks.reports.csv_table import csv_text
from clipedge.benchmarks.reports.markdown import markdown_text
from clipedge.benchmarks.reports.terminal import heading_text, table_text
from clipedge.benchmarks.speed import document as documents
from clipedge.jetson.errors import ClipedgeError, UsageError

GONE = object()


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
        ("[]", r"it has no schema\. Give one that --json wrote"),
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
    with pytest.raises(UsageError, match=r"damaged: it has no clipedge, .* rows, failures\."):
        documents.read_document(path)
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(UsageError, match="no JSON file"):
        documents.read_document(path)
    with pytest.raises(UsageError, match="does not exist"):
        documents.read_document(tmp_path / "none.json")
    with pytest.raises(ClipedgeError):
        documents.read_document(tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["rows"], 5, "rows is 5 and should be a list"),
        (["rows", 0], "x", r'rows\[0\] is "x" and should be an object'),
        (["rows", 0, "clips_per_s"], "fast", r'rows\[0\]\.clips_per_s is "fast" and should be a n'),
        (["rows", 0, "clips_per_s"], float("nan"), "is NaN and should be a number above 0"),
        (["rows", 0, "latency_ms"], GONE, r"rows\[0\]\.latency_ms is missing"),
        (["rows", 0, "latency_ms", "p95"], True, "latency_ms.p95 is true and should be a number"),
        (["rows", 0, "repeats"], [], "repeats is .* should be a list of 1 or more"),
        (["rows", 0, "repeats", 1, "batches"], None, r"repeats\[1\]\.batches is null"),
        (["failures", 0, "error"], {}, r"failures\[0\]\.error is \{\} and should be a text"),
        (["settings", "compare_backends"], GONE, "settings.compare_backends is missing"),
    ],
)
def test_a_field_that_is_damaged_is_named(tmp_path, path, value, said):
    written = documents.write_document(tmp_path / "bench.json", damaged(path, value))
    with pytest.raises(UsageError, match=f"bench.json is damaged: .*{said}"):
        documents.read_document(written)


def damaged(path, value):
    """Returns an example with one field changed, or taken out."""
    document = json.loads(json.dumps(example_document([example_row()], [example_failure()])))
    part = document
    for key in path[:-1]:
        part = part[key]
    if value is GONE:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    return document


@pytest.mark.parametrize("value", [None, 5, "x", [], {}, GONE])
def test_what_is_read_can_be_reported_on(tmp_path, value):
    """One field of the document or of a part of it is another at a time."""
    whole = damaged(["clipedge"], "0.1.0")
    paths = [[name] for name in whole] + [["rows", 0, name] for name in whole["rows"][0]]
    for part in ("settings", "machine", "conditions"):
        paths += [[part, name] for name in whole[part]]
    refused = 0
    for path in paths:
        written = documents.write_document(tmp_path / "bench.json", damaged(path, value))
        try:
            document = documents.read_document(written)
        except UsageError:
            refused += 1
            continue
        for text_of in (table_text, heading_text, csv_text, markdown_text):
            assert text_of(document), path
    assert refused > 20


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

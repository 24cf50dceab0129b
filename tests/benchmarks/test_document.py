"""A document is read by its own schema alone, and gone on with under the same conditions alone."""

import json

import pytest
from stand_ins.bench_documents import example_document, example_failure, example_row

from clipedge.benchmarks.speed import document as documents
from clipedge.jetson.engine_manifest import sha256_of
from clipedge.jetson.errors import ClipedgeError, UsageError


@pytest.fixture
def kept(tiny_model, tmp_path, monkeypatch):
    """Returns kept(**changes): the file of a document that was measured here, of the tiny model."""
    machine = documents.board.machine_facts()
    monkeypatch.setattr(documents.board, "machine_facts", lambda: dict(machine))
    row = dict(example_row(), file=str(tiny_model), sha256=sha256_of(tiny_model))

    def keep(**changes):
        fields = dict({"rows": [row], "machine": machine, "complete": False}, **changes)
        return documents.write_document(tmp_path / "bench.json", example_document(**fields))

    keep.row = row
    return keep


def test_a_document_is_read_as_it_was_written(tmp_path):
    document = example_document()
    path = documents.write_document(tmp_path / "bench.json", document)
    assert documents.read_document(path) == json.loads(json.dumps(document))
    assert [one.name for one in tmp_path.iterdir()] == ["bench.json"]


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


def test_a_run_goes_on_with_what_it_had(kept):
    path = kept(complete=True)
    document = documents.resumable(path, example_document()["settings"])
    assert [row["file"] for row in document["rows"]] == [kept.row["file"]]
    assert (document["complete"], document["ended_utc"]) == (False, None)
    row = kept.row
    known = (document, row["file"], row["sha256"])
    assert documents.measured_before(*known, row["batch"], row["streams"]) == document["rows"]
    assert documents.measured_before(*known, row["batch"] + 1, row["streams"]) == []
    assert documents.measured_before(*known, row["batch"], 2) == []


def test_there_may_be_nothing_to_go_on_with(tmp_path):
    assert documents.resumable(tmp_path / "none.json", {}) is None


def test_other_settings_are_refused_with_what_differs(kept):
    path = kept()
    settings = dict(example_document()["settings"], duration_s=60.0)
    with pytest.raises(UsageError, match=r"duration_s was .* and is 60\.0"):
        documents.resumable(path, settings)


def test_another_machine_is_refused(kept):
    machine = dict(documents.board.machine_facts(), cpu="AMD K6", logical_cores=99)
    path = kept(machine=machine)
    with pytest.raises(UsageError, match=r"cpu was 'AMD K6'.*logical_cores was 99"):
        documents.resumable(path, example_document()["settings"])


def test_a_file_that_changed_is_measured_again_and_its_old_row_goes(kept, tmp_path):
    changed = tmp_path / "changed.onnx"
    changed.write_bytes(b"new")
    old = dict(kept.row, file=str(changed), sha256="0" * 64)
    removed = dict(kept.row, file=str(tmp_path / "removed.onnx"), sha256="1" * 64)
    document = documents.resumable(
        kept(rows=[old, kept.row, removed]), example_document()["settings"]
    )
    assert [row["file"] for row in document["rows"]] == [kept.row["file"], removed["file"]]


def test_failures_are_tried_again_unless_their_job_is_done(kept):
    done = dict(example_failure(kept.row["file"]), backend="torch-compile")
    open_ = example_failure("engines/other.onnx")
    path = kept(failures=[done, open_])
    document = documents.resumable(path, example_document()["settings"])
    assert document["failures"] == [done]


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

"""A run is gone on with under the same conditions alone, job by job."""

import copy

import pytest
from stand_ins.bench_documents import CPU, example_document, example_failure, example_row

from clipedge.benchmarks import devices, machine_rates
from clipedge.benchmarks.speed.document import write_document
from clipedge.benchmarks.speed.limits import LimitDevices
from clipedge.benchmarks.speed.plan import Job
from clipedge.benchmarks.speed.resuming import ASKED, check_packages, is_done, resumed
from clipedge.jetson.engine_manifest import sha256_of
from clipedge.jetson.errors import ClipedgeError, UsageError


@pytest.fixture
def kept(tiny_model, tmp_path):
    """Returns kept(**changes): the file of a document that was measured here, of the tiny model."""
    row = dict(example_row(), file=str(tiny_model), sha256=sha256_of(tiny_model))

    def keep(**changes):
        fields = dict({"rows": [row], "complete": False}, **changes)
        return write_document(tmp_path / "bench.json", example_document(**fields))

    keep.row = row
    return keep


def fresh(**changes):
    """A new document on the machine of ``kept``."""
    return example_document([], packages={}, **changes)


def test_a_run_goes_on_with_what_it_had(kept, tiny_model):
    document = resumed(kept(complete=True), fresh())
    assert [row["file"] for row in document["rows"]] == [kept.row["file"]]
    assert (document["complete"], document["ended_utc"]) == (False, None)
    job = Job(tiny_model, kept.row["batch"], kept.row["streams"])
    assert is_done(document, job)
    assert not is_done(document, job._replace(batch=job.batch + 1))
    assert not is_done(document, job._replace(streams=2))


def test_there_may_be_nothing_to_go_on_with(tmp_path):
    new = fresh()
    assert resumed(tmp_path / "none.json", new) is new


def test_other_settings_are_refused_with_what_differs(kept):
    changes = {"duration_s": 60.0, "batch": [1, 8], "profile": True, "threads": 2}
    settings = dict(example_document()["settings"], **changes)
    with pytest.raises(UsageError) as caught:
        resumed(kept(), fresh(settings=settings))
    assert str(caught.value).split("bench.json ")[1] == (
        "was measured with other flags (--batch was 8 and is 1 8; --duration was 5 and is 60; "
        "--threads was not given and is 2; --profile was not given and is given). "
        "Resume with the same, or measure into another file."
    )


def test_another_machine_is_refused(kept):
    machine = dict(example_document()["machine"], cpu="AMD K6", logical_cores=99)
    with pytest.raises(UsageError, match=r"CPU AMD EPYC, was AMD K6; cores 2, was 99"):
        resumed(kept(machine=machine), fresh())


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("power_mode", "name"), "MAXQ", "power mode MAXQ, was MAXN"),
        (("jetson_clocks",), None, "jetson_clocks unknown, was "),
        (("software", "tensorrt"), "9.9", r"TensorRT 9\.9, was "),
        (("software", "cuda"), "9.9", r"CUDA 9\.9, was "),
    ],
)
def test_another_state_of_the_board_is_refused(kept, path, value, said):
    now = fresh(board="tx2")
    *above, name = path
    part = now["conditions"] = copy.deepcopy(now["conditions"])
    for key in above:
        part = part[key]
    part[name] = value
    with pytest.raises(UsageError, match=said):
        resumed(kept(board="tx2"), now)


def test_what_is_never_the_same_twice_is_not_compared(kept):
    now = fresh(board="tx2", busy_share_at_start=0.9)
    conditions = now["conditions"] = copy.deepcopy(now["conditions"])
    conditions.update(load_average=7.0, temperatures_c={}, power_w=1.0, throttled=True)
    assert len(resumed(kept(board="tx2"), now)["rows"]) == 1


def test_other_versions_are_refused(kept):
    with pytest.raises(UsageError, match=r"clipedge 9\.9, was 0\.1\.0"):
        resumed(kept(), fresh(clipedge="9.9"))
    document = resumed(kept(), fresh())
    check_packages(document, {"openvino": "2026.4.1", "onnxruntime": "1.20"})
    with pytest.raises(UsageError, match=r"openvino was 2026\.4\.1 and is 2027\.0"):
        check_packages(document, {"openvino": "2027.0"})


def test_a_file_that_changed_is_measured_again_and_its_old_row_goes(kept, tmp_path):
    changed = tmp_path / "changed.onnx"
    changed.write_bytes(b"new")
    old = dict(kept.row, file=str(changed), sha256="0" * 64)
    removed = dict(kept.row, file=str(tmp_path / "removed.onnx"), sha256="1" * 64)
    document = resumed(kept(rows=[old, kept.row, removed]), fresh())
    assert [row["file"] for row in document["rows"]] == [kept.row["file"], removed["file"]]
    with pytest.raises(ClipedgeError, match=r"removed\.onnx: there is no such file"):
        is_done(document, Job(tmp_path / "removed.onnx", 8, 1))


def test_failures_are_tried_again_unless_their_job_is_done(kept):
    done = dict(example_failure(kept.row["file"]), backend="torch-compile")
    engine = dict(example_failure("engines/tiny_fp16.engine"), **{ASKED: kept.row["file"]})
    open_ = example_failure("engines/other.onnx")
    document = resumed(kept(failures=[done, engine, open_]), fresh())
    assert document["failures"] == [done, engine]


def test_a_job_with_another_engine_or_without_its_own_row_is_measured_again(kept, tmp_path):
    engine = tmp_path / "tiny_fp16.engine"
    engine.write_bytes(b"new")
    asked = {ASKED: kept.row["file"]}
    own = dict(kept.row, **asked)
    beside = dict(kept.row, file=str(engine), sha256=sha256_of(engine), **asked)
    failure = dict(example_failure(kept.row["file"]), **asked)
    assert len(resumed(kept(rows=[own, beside]), fresh())["rows"]) == 2
    for rows in ([own, dict(beside, sha256="0" * 64)], [beside]):
        document = resumed(kept(rows=rows, failures=[failure]), fresh())
        assert (document["rows"], document["failures"]) == ([], [])


# --- Limits ---------------------------------------------------------------------------------------


@pytest.fixture
def measured(monkeypatch):
    """How often this machine's rates were measured; they are those of CPU."""
    calls = []

    def measure(threads):
        calls.append(threads)
        return CPU, {"threads": threads}

    monkeypatch.setattr(machine_rates, "measure_machine", measure)
    return calls


NOTHING_KNOWN = {"cpu": None, "gpu": None, "missing": {"cpu": "not measured"}}


@pytest.mark.parametrize("asked", [True, False])
def test_rates_that_the_document_has_are_not_measured_again(measured, asked):
    cpu = CPU._replace(cache_bytes=float("inf"))
    noted = dict(cpu.facts(), measured={"threads": 2})
    document = example_document(limit_devices={"cpu": noted, "gpu": None, "missing": {}})
    limits = LimitDevices(document, asked, 2)
    assert limits.of(example_row()) == cpu
    assert document["limit_devices"] == {"cpu": noted, "gpu": None, "missing": {}}
    assert measured == []


def test_rows_from_before_the_rates_get_their_limits(measured):
    wanted = example_row(limited=True)
    document = example_document(
        [example_row(), example_row("tiny", None, frames=4), dict(wanted, limit="as it was")],
        limit_devices=copy.deepcopy(NOTHING_KNOWN),
    )
    LimitDevices(document, True, 2).complete()
    assert [row["limit"] for row in document["rows"]] == [wanted["limit"], None, "as it was"]
    assert document["limit_devices"]["missing"] == {}
    assert measured == [2]


def test_a_device_is_made_of_its_facts():
    for device in devices.DEVICES:
        assert devices.device_of_facts(dict(device.facts(), measured={})) == device

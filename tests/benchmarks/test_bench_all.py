"""jetson-bench --all: which files stand for Table 8's rows, and what becomes of missing ones."""

import os
import pathlib
import shutil
import sys
import textwrap

import pytest
from stand_ins import board

from clipedge.benchmarks.speed import exporting, memory, table
from clipedge.benchmarks.speed.backends import BENCH_BACKENDS
from clipedge.benchmarks.speed.plan import Job, find_models, jobs_of
from clipedge.benchmarks.speed.table import files_of, table_plan
from clipedge.benchmarks.speed.worker import Order
from clipedge.jetson import paper
from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.spec import METADATA_KEY, ClipSpec

ROW = ("shufflenetv1", 2.0)
SPEC = ClipSpec(ROW[0], ("a", "b"), ROW[1])


@pytest.fixture(autouse=True)
def exports_are_possible(monkeypatch, tmp_path):
    """A machine with torch and without a GPU, in an empty folder."""
    monkeypatch.setattr(exporting, "missing_packages", lambda: [])
    monkeypatch.setattr(table, "missing_packages", lambda: [])
    monkeypatch.setattr(table, "engines_run_here", lambda: False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def without_torch(monkeypatch):
    for module in (exporting, table):
        monkeypatch.setattr(module, "missing_packages", lambda: ["torch", "onnx"])


@pytest.fixture(scope="module")
def written(model_writer, tmp_path_factory):
    """`written(name, spec)`: an ONNX file, made once."""
    folder = tmp_path_factory.mktemp("written")
    made = {}

    def write(target, spec=SPEC, **options):
        key = (spec, tuple(options.items()))
        if key not in made:
            path = folder / f"{len(made)}.onnx"
            made[key] = model_writer(path, spec, channels=1, **options)
        pathlib.Path(str(target)).parent.mkdir(parents=True, exist_ok=True)
        return pathlib.Path(shutil.copy(str(made[key]), str(target)))

    return write


def row_of(plan, model=ROW[0], width=ROW[1]):
    (row,) = [row for row in plan.rows if (row.model, row.width) == (model, width)]
    return row


# --- Which files ----------------------------------------------------------------------------------


def test_all_rows_come_in_the_papers_order_with_the_files_that_are_there(written, tmp_path):
    path = written(tmp_path / "models" / "of_any_name.onnx")
    i3d = written(tmp_path / "x.onnx", ClipSpec("i3d", ("a", "b"), frames=64, size=224))
    plan = table_plan([tmp_path / "models", i3d])
    assert [(row.model, row.width) for row in plan.rows] == [
        (row.model, row.width) for row in paper.TABLE_8
    ]
    assert row_of(plan).paths == [path]
    assert row_of(plan, "i3d", None).paths == [i3d]
    assert sum(bool(row.paths) for row in plan.rows) == 2
    assert plan.folder == tmp_path / "models"
    assert plan.notes() == []


def test_other_clips_and_other_models_stand_for_no_row_and_are_said(written, tmp_path):
    small = written(tmp_path / "shufflenetv1_2.0x_random.onnx", SPEC._replace(size=48))
    for number in range(5):
        written(tmp_path / f"other{number}.onnx", SPEC._replace(model="mine"))
    plan = table_plan([tmp_path])
    assert not any(row.paths for row in plan.rows)
    assert f"Left out {small}: its clips are 3x16x48x48, the paper's 3x16x112x112." in plan.notes()
    (models,) = [note for note in plan.notes() if "no such model" in note]
    assert "other2.onnx and 2 more: Table 8 has no such model." in models


def test_a_damaged_file_is_reported_and_does_not_stop_the_plan(written, tmp_path):
    good = written(tmp_path / "good.onnx")
    (tmp_path / "cut.onnx").write_bytes(good.read_bytes()[:300])
    (tmp_path / "lone.engine").write_bytes(b"an engine without its manifest")
    for suffix in ("onnx", "engine"):
        (tmp_path / f"loop.{suffix}").symlink_to(f"loop.{suffix}")
        (tmp_path / f"nowhere.{suffix}").symlink_to(f"nothing.{suffix}")
        (tmp_path / f"folder.{suffix}").mkdir()
    plan = table_plan([tmp_path])
    assert row_of(plan).paths == [good]
    reasons = {path.name: str(error) for path, error in plan.damaged}
    assert "not a whole ONNX file" in reasons["cut.onnx"]
    assert "has no manifest" in reasons["lone.engine"]
    assert len(reasons) == 2 + 6


def test_one_onnx_file_stands_for_a_row_trained_before_random_as_trained_not_rewritten(
    written, tmp_path
):
    onnx = pytest.importorskip("onnx")
    random = written(tmp_path / "a.onnx")
    trained = written(tmp_path / "b.onnx", SPEC._replace(dataset="jester"))
    model = onnx.load(str(trained))
    entry = model.metadata_props.add()
    entry.key, entry.value = "clipedge.graph_form", "conv2d"
    rewritten = tmp_path / "a_conv2d.onnx"
    rewritten.write_bytes(model.SerializeToString())
    plan = table_plan([tmp_path, random])  # given twice, counted once
    assert row_of(plan).paths == [trained]
    assert plan.left_out == {table.REWRITTEN: [rewritten], table.ANOTHER: [random]}


def test_a_spec_beside_the_file_counts_as_the_metadata_do(model_writer, tmp_path):
    path = model_writer(tmp_path / "x.onnx", SPEC, channels=1, metadata=False)
    SPEC.save(tmp_path / "x.spec.json")
    assert METADATA_KEY.encode() not in path.read_bytes()
    assert row_of(table_plan([path])).paths == [path]


@pytest.fixture
def engines(written, engine_writer, tmp_path):
    """An ONNX file of a row and engines of it: fp32, fp16, and one of fp16 for other batches."""
    onnx = written(tmp_path / "models" / "net.onnx")
    with board("8.2.1"):
        for name, batches, precision in (
            ("a_single", (1,), "fp16"),
            ("net_fp16", (1, 8), "fp16"),
            ("net_fp32", (1, 8), "fp32"),
        ):
            engine_writer(onnx.with_name(name + ".engine"), onnx, batches, precision=precision)
    return onnx


def test_with_a_gpu_a_row_is_its_engines_one_for_each_precision(engines, monkeypatch):
    monkeypatch.setattr(table, "engines_run_here", lambda: True)
    plan = table_plan([engines.parent], batches=[8])
    row = row_of(plan)
    assert [path.name for path in row.paths] == ["net_fp16.engine", "net_fp32.engine"]
    assert (row.engines, row.onnx) == (row.paths, engines)
    assert plan.left_out[table.ENGINES_INSTEAD] == [engines]
    assert [path.name for path in plan.left_out[table.ANOTHER]] == ["a_single.engine"]


def test_without_a_gpu_a_row_is_its_onnx_file(engines):
    plan = table_plan([engines.parent])
    assert row_of(plan).paths == [engines]
    assert row_of(plan).engines == []
    assert len(plan.left_out[table.NO_GPU_HERE]) == 3


def test_a_backend_by_name_takes_the_files_it_runs(engines):
    plan = table_plan([engines.parent], "tensorrt", [8])
    assert [path.suffix for path in row_of(plan).paths] == [".engine", ".engine"]
    plan = table_plan([engines.parent, engines.with_name("net_fp32.engine")], "onnxruntime", [8])
    assert row_of(plan).paths == [engines]
    assert list(plan.left_out) == [table.ONNX_ONLY]


def test_engines_run_where_tensorrt_and_pycuda_are():
    for pycuda in (True, False):
        with board("8.2.1", pycuda=pycuda):
            assert REAL_ENGINES_RUN_HERE() is pycuda
    with board(None):
        assert not REAL_ENGINES_RUN_HERE()


REAL_ENGINES_RUN_HERE = table.engines_run_here


def test_every_file_is_measured_at_every_batch_with_every_count_of_streams():
    path = pathlib.Path("a.onnx")
    assert jobs_of([path], [1, 8], [1, 2]) == [
        Job(path, 1, 1),
        Job(path, 1, 2),
        Job(path, 8, 1),
        Job(path, 8, 2),
    ]


# --- What cannot be -------------------------------------------------------------------------------


def test_a_folder_with_none_says_so(tmp_path, without_torch, written):
    with pytest.raises(UsageError, match=r"holds no \.onnx or \.engine file"):
        find_models([tmp_path])
    with pytest.raises(UsageError, match=r"no file of a model of Table 8 in .*torch and onnx"):
        table_plan([tmp_path])
    with pytest.raises(UsageError, match="in engines, and torch"):
        table_plan([])
    with pytest.raises(UsageError, match="There is no engine of a model of Table 8"):
        table_plan([tmp_path], "tensorrt")
    written(tmp_path / "small.onnx", SPEC._replace(size=48))
    with pytest.raises(UsageError, match=r"Left out .*small\.onnx: its clips are 3x16x48x48"):
        table_plan([tmp_path])


def test_with_torch_an_empty_folder_is_where_everything_goes(tmp_path):
    assert not any(row.paths for row in table_plan([tmp_path]).rows)
    plan = table_plan([])
    assert plan.folder == pathlib.Path("engines")


def test_what_was_exported_into_the_default_folder_is_found_again(written, tmp_path):
    given = written(tmp_path / "mine.onnx", ClipSpec("squeezenet", ("a",)))
    there = written(tmp_path / "engines" / "shufflenetv1_2.0x_random.onnx")
    plan = table_plan([given])
    assert [path.resolve() for path in row_of(plan).paths] == [there.resolve()]
    assert row_of(plan, "squeezenet", None).paths == [given]


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        table_plan([tmp_path / "typo"])


def test_without_torch_a_missing_row_says_how_to_get_its_file(written, tmp_path, without_torch):
    written(tmp_path / "one.onnx")
    plan = table_plan([tmp_path])
    with pytest.raises(ClipedgeError) as caught:
        files_of(row_of(plan, "mobilenetv2", 0.45), plan)
    message = str(caught.value)
    assert "no file of mobilenetv2_0.45x_random, and torch and onnx" in message
    assert "export-engine --model mobilenetv2 --width 0.45 --no-engine" in message


def test_a_missing_engine_is_not_exported(engines, tmp_path):
    plan = table_plan([tmp_path / "models"], "tensorrt", [8])
    with pytest.raises(ClipedgeError, match="no engine of it"):
        files_of(row_of(plan, "i3d", None), plan)


# --- The export -----------------------------------------------------------------------------------


@pytest.fixture
def exporter(monkeypatch, tmp_path):
    """`exporter(code)`: exports run this instead, with `name`, `folder` and `flags` defined."""

    def use(code):
        script = tmp_path / "exporter.py"
        start = """
            import os, pathlib, signal, sys, time
            flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
            if "--width" in flags:
                name = "{--model}_{--width}x_random".format(**flags)
            folder = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])
        """
        script.write_text(textwrap.dedent(start) + textwrap.dedent(code))
        monkeypatch.setattr(exporting, "EXPORTER", [sys.executable, str(script)])

    return use


WRITES_A_SET = """
    for suffix in (".onnx", ".spec.json", ".recogniser.json"):
        (folder / (name + suffix)).write_text(" ".join(sys.argv[1:]))
"""


def test_a_missing_row_is_exported_beside_the_others(exporter, tmp_path):
    exporter(WRITES_A_SET)
    folder = tmp_path / "models"
    folder.mkdir()
    tuned = folder / "shufflenetv1_2.0x_random.recogniser.json"
    tuned.write_text("tuned")
    (folder / "shufflenetv1_2.0x_random.spec.json").write_text("of a file that is gone")
    plan = table_plan([folder])
    (path,) = files_of(row_of(plan), plan)
    assert path == folder / "shufflenetv1_2.0x_random.onnx"
    assert path.read_text().startswith(
        "--model shufflenetv1 --width 2.0 --no-engine --graph conv3d --output"
    )
    assert tuned.read_text() == "tuned"
    assert (folder / "shufflenetv1_2.0x_random.spec.json").read_text() == path.read_text()
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("sys.exit('loading\\nexport-engine: the disk is full.')", "the disk is full"),
        ("sys.exit(3)", "with status 3"),
        ("os.kill(os.getpid(), 9)", "signal 9, for want of memory"),
        ("pass", "wrote no shufflenetv1_2.0x_random.onnx"),
    ],
)
def test_an_export_that_fails_says_why_and_leaves_nothing(exporter, tmp_path, code, reason):
    exporter(f"(folder / 'half').write_text('')\n{code}")
    with pytest.raises(ClipedgeError, match=reason):
        exporting.export_row(*ROW, folder=tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize("deaf", [False, True])
def test_an_interrupt_ends_the_export_and_leaves_nothing(exporter, tmp_path, monkeypatch, deaf):
    note = tmp_path / "pid"
    exporter(
        f"""
        signal.signal(signal.SIGTERM, signal.SIG_IGN if {deaf} else signal.SIG_DFL)
        (folder / "half.onnx").write_text("half")
        pathlib.Path({str(note)!r} + ".part").write_text(str(os.getpid()))
        os.rename({str(note)!r} + ".part", {str(note)!r})
        time.sleep(600)
        """
    )

    class Interrupted(exporting.ProgressLine):
        def show(self, text):
            if note.exists():
                raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "ProgressLine", Interrupted)
    monkeypatch.setattr(exporting, "_LEAVE_S", 0.2 if deaf else 30.0)
    with pytest.raises(KeyboardInterrupt):
        exporting.export_row(*ROW, folder=tmp_path / "models")
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)
    assert list((tmp_path / "models").iterdir()) == []


def test_a_file_that_is_in_the_way_is_not_replaced(exporter, written, tmp_path):
    exporter(WRITES_A_SET)
    path = tmp_path / "models" / "shufflenetv1_2.0x_random.onnx"
    written(path, SPEC._replace(size=48))
    before = path.read_bytes()
    plan = table_plan([tmp_path / "models"])
    with pytest.raises(ClipedgeError, match="is not replaced"):
        files_of(row_of(plan), plan)
    assert path.read_bytes() == before


# --- Memory ---------------------------------------------------------------------------------------

# Peak of the process in MiB with 27 classes: measured on x86 with two cores.
MEASURED_MB = [
    ("onnxruntime", "shufflenetv1", 0.5, 8, 162),
    ("onnxruntime", "mobilenetv2", 1.0, 8, 403),
    ("onnxruntime", "squeezenet", None, 8, 342),
    ("onnxruntime", "resnet101", None, 1, 440),
    ("onnxruntime", "resnet101", None, 8, 826),
    ("onnxruntime", "i3d", None, 1, 526),
    ("onnxruntime", "i3d", None, 8, 3080),
    ("openvino", "shufflenetv1", 0.5, 8, 207),
    ("openvino", "mobilenetv2", 1.0, 8, 361),
    ("openvino", "squeezenet", None, 8, 293),
    ("openvino", "resnet101", None, 1, 793),
    ("openvino", "resnet101", None, 8, 1269),
    ("openvino", "i3d", None, 1, 384),
    ("openvino", "i3d", None, 8, 1681),
    ("torch-eager", "shufflenetv1", 0.5, 8, 327),
    ("torch-eager", "mobilenetv2", 1.0, 8, 685),
    ("torch-eager", "resnet101", None, 8, 833),
    ("torch-eager", "i3d", None, 8, 2245),
    ("torch-channels-last", "i3d", None, 8, 2349),
    ("torch-compile", "mobilenetv2", 1.0, 8, 668),
    ("torch-compile", "squeezenet", None, 8, 620),
]


@pytest.mark.parametrize(("backend", "model", "width", "batch", "measured_mb"), MEASURED_MB)
def test_the_estimate_is_near_what_was_measured(backend, model, width, batch, measured_mb):
    needed_mb = memory.memory_needed_mb(model, width, 27, batch, backend)
    assert 0.75 < needed_mb / measured_mb < 1.4


@pytest.mark.parametrize(
    ("model", "width", "measured_mb"),
    [("shufflenetv1", 0.5, 442), ("resnet101", None, 3280), ("i3d", None, 4583)],
)
def test_the_estimate_of_an_export_is_near_what_was_measured(model, width, measured_mb):
    assert 0.9 < memory.export_needs_mb(model, width) / measured_mb < 1.4


def test_an_export_that_does_not_fit_is_refused_before_it_is_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(memory.board, "available_memory_mb", lambda: 3000)
    with pytest.raises(ClipedgeError, match=r"export needs about 4\d\d\d MiB .* 3000 MiB are"):
        exporting.export_row("i3d", None, tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_every_backend_of_the_cpu_has_an_estimate():
    for backend in BENCH_BACKENDS:
        if backend != "tensorrt":
            assert memory.memory_needed_mb("squeezenet", None, 27, 8, backend) > 0


def test_auto_needs_the_memory_of_all_that_are_installed(monkeypatch):
    def needed(backend):
        return memory.memory_needed_mb("resnet101", None, 27, 8, backend)

    monkeypatch.setattr(memory, "is_installed", lambda name: True)
    assert needed("openvino") < needed("auto") < needed("openvino") + needed("onnxruntime")
    monkeypatch.setattr(memory, "is_installed", lambda name: name == "onnxruntime")
    assert needed("auto") == needed("onnxruntime")


def test_a_row_that_does_not_fit_is_refused_before_it_is_tried(written, tmp_path, monkeypatch):
    path = written(tmp_path / "i3d.onnx", ClipSpec("i3d", ("a", "b"), frames=64, size=224))
    order = Order(str(path), "onnxruntime", "fp32", 1, batch=1)
    monkeypatch.setattr(memory.board, "available_memory_mb", lambda: 1000)
    memory.require_room(order)
    with pytest.raises(UsageError, match=r"i3d.onnx in batches of 8 needs about 3\d\d\d MiB"):
        memory.require_room(order._replace(batch=8))
    with pytest.raises(UsageError, match=r"i3d"):
        memory.require_room(order._replace(streams=4))
    memory.require_room(order._replace(batch=8, backend="tensorrt"))
    other = written(tmp_path / "own.onnx", SPEC._replace(size=48))
    memory.require_room(order._replace(path=str(other), batch=10000))  # nobody knows

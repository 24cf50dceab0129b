"""The paper's columns stand only where they compare, and the notes say what they are."""

import io

import pytest
from stand_ins.board_files import BoardFiles

from clipedge.benchmarks import report
from clipedge.jetson import board
from clipedge.jetson.conditions import read_conditions
from clipedge.jetson.progress import ProgressLine
from clipedge.jetson.spec import ClipSpec


def row(**changes):
    fields = {
        "file": "engines/shufflenetv1_2.0x_jester.onnx",
        "backend": "onnxruntime",
        "precision": "fp32",
        "threads": 2,
        "clips_per_s": 12.34,
        "latency_ms": {"median": 1.0, "p95": 2.0, "p99": 3.0},
        "batches": 500,
        "batch": 8,
        "clip_shape": [3, 16, 112, 112],
        "random_weights": False,
        "paper": report.paper_row(ClipSpec("shufflenetv1", ("a",), 2.0)),
    }
    fields.update(changes)
    return fields


def test_paper_speeds_are_table_8s():
    assert report.paper_row(ClipSpec("shufflenetv1", ("a",), 2.0)) == {
        "conditions": "PyTorch fp32, batch 8",
        "titan_xp_clips_per_s": 161,
        "jetson_tx2_clips_per_s": 24,
    }
    assert report.paper_row(ClipSpec("squeezenet", ("a",)))["jetson_tx2_clips_per_s"] == 46


@pytest.mark.parametrize(
    "spec",
    [
        ClipSpec("shufflenetv1", ("a",), 2.0, frames=8),
        ClipSpec("shufflenetv1", ("a",), 2.0, size=64),
        ClipSpec("shufflenetv1", ("a",), 0.75),
        ClipSpec("other", ("a",)),
    ],
)
def test_no_paper_speeds_for_other_clips_widths_or_models(spec):
    assert report.paper_row(spec) is None


def test_table_names_the_papers_columns_and_conditions():
    text = report.table_text([row()])
    header, _, line = text.splitlines()[:3]
    assert header.split()[-6:] == ["paper:", "Titan", "Xp", "paper:", "Jetson", "TX2"]
    cells = " ".join(line.split())
    assert cells == "shufflenetv1_2.0x_jester onnxruntime fp32 x2 12.3 1.0 2.0 3.0 500 161 24"
    assert "PyTorch fp32, batch 8), not measured here" in text
    assert "random" not in text
    assert "differs" not in text


def test_a_dash_and_a_note_where_the_paper_has_no_figure():
    text = report.table_text([row(paper=None, clip_shape=[3, 8, 64, 64])])
    assert text.splitlines()[2].split()[-2:] == ["-", "-"]
    assert "clips of 16 x 112 x 112 only" in text
    assert "not measured here" not in text
    text = report.table_text([row(paper=None)])
    assert "-: the paper has no speed for this model or width." in text


def test_notes_on_batch_random_weights_and_few_batches():
    text = report.table_text([row(batch=1, random_weights=True, batches=20)])
    assert "This run's batch differs from the paper's 8." in text
    assert "random weights: good for speed only" in text
    assert "p99 of 20 batches" in text


def test_heading_says_board_and_l4t_of_a_jetson():
    machine = {
        "board": "quill",
        "cpu": None,
        "architecture": "aarch64",
        "memory_mb": 7858,
        "l4t": "32.7.1",
        "os": "Ubuntu 18.04.6 LTS",
        "logical_cores": 6,
        "python": "3.6.9",
    }
    settings = {"batch": 8, "duration_s": 10.0, "warmup_s": 0.5}
    first, second = report.conditions_text(machine, settings).splitlines()
    assert first == "quill, 6 cores, 7.7 GiB, Ubuntu 18.04.6 LTS, L4T 32.7.1, Python 3.6.9"
    assert second == "batch 8, 10 s a model after 0.5 s of warm-up"


def test_heading_takes_in_the_conditions_where_they_were_read(tmp_path):
    files = BoardFiles(tmp_path, "tx2")
    conditions = read_conditions(tmp_path, files.run, loaded={})
    machine = board.machine_facts(tmp_path)
    settings = {"batch": 8, "duration_s": 10.0, "warmup_s": 0.5}
    lines = report.conditions_text(machine, settings, conditions).splitlines()
    assert lines[0].startswith("quill, ")
    assert lines[1].startswith("software: Jetson TX2, L4T 32.7.1 (JetPack 4.6.1)")
    assert lines[2].startswith("power mode: 0 MAXN, jetson_clocks on")
    assert lines[-1] == "batch 8, 10 s a model after 0.5 s of warm-up"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_redraws_on_a_terminal_and_is_one_line_elsewhere():
    terminal, log = Terminal(), io.StringIO()
    for stream in (terminal, log):
        with ProgressLine("[1/2] a.onnx", stream=stream) as progress:
            progress(5.0, 10.0)
            progress(5.1, 10.0)  # too soon to draw again
    assert "[############............] 5 of 10 s" in terminal.getvalue()
    assert terminal.getvalue().count("\r[1/2]") == 1
    assert terminal.getvalue().endswith("\r\x1b[K")
    assert log.getvalue() == "[1/2] a.onnx\n"

"""The tables in the terminal: what stands where, what is left out, and the notes."""

import io

import pytest
from stand_ins.bench_documents import (
    example_document,
    example_failure,
    example_profile,
    example_row,
    example_rows,
)

from clipedge.benchmarks.reports.columns import ALL
from clipedge.benchmarks.reports.markdown import markdown_text
from clipedge.benchmarks.reports.terminal import WIDTH, heading_text, table_text
from clipedge.benchmarks.speed.document import new_document
from clipedge.benchmarks.speed.texts import (
    PAGE,
    percent,
    rate_text,
    ratio_text,
    significant,
    whole_percent,
)
from clipedge.jetson.progress import ProgressLine


def table(*rows, **fields):
    return table_text(example_document(list(rows), **fields))


def blocks(text):
    """Return the parts of the text by their first lines."""
    parts = [part.splitlines() for part in text.split("\n\n")]
    return {lines[0]: lines[1:] for lines in parts}


def speeds(text):
    """Return header and lines of the first table, each split where columns are."""
    lines = text.split("\n\n")[0].splitlines()
    lines = lines[1:] if lines[0].startswith("All with") else lines
    return [[cell for cell in line.split("  ") if cell] for line in (lines[0], *lines[2:])]


def test_the_example_has_every_field_of_a_real_document():
    assert set(example_document()) == set(new_document({}))


def test_a_row_shows_the_documents_figures():
    row = example_row("shufflenetv1", 0.5, 12.34, limited=True, file="engines/a.onnx")
    header, cells = speeds(table(row))
    texts = dict(zip([title.strip() for title in header], [cell.strip() for cell in cells]))
    assert texts == {
        "model": "a",
        "backend": "openvino fp32 x2",
        "batch": "8",
        "clips/s": "12.3",
        "spread": "2.0 %",
        "median ms": "{:.1f}".format(row["latency_ms"]["median"]),
        "p95 ms": "{:.1f}".format(row["latency_ms"]["p95"]),
        "p99 ms": "{:.1f}".format(row["latency_ms"]["p99"]),
        "of limit": "{:.1f} %".format(100 * row["limit"]["share_of_by_layer"]),
        "paper: Xp": "398",
        "paper: TX2": "69",
    }


def test_columns_that_are_empty_in_all_rows_are_left_out():
    header = table(example_row("tiny", None, rates=[100.0], frames=4)).splitlines()[0]
    for title in ("spread", "of limit", "paper"):
        assert title not in header
    text = table(example_row("tiny", None, frames=4), example_row())
    tiny = text.splitlines()[2]
    assert tiny.split()[-2:] == ["-", "-"]


def test_what_is_alike_in_all_rows_moves_above_a_table_too_wide_for_the_terminal():
    text = table(example_row(limited=True), example_row("mobilenetv2", 0.45, limited=True))
    first, header = text.splitlines()[:2]
    assert first == "All with backend openvino fp32 x2:"
    assert "backend" not in header
    assert "batch" in header
    assert max(len(line) for line in text.split("\n\n")[0].splitlines()) <= WIDTH
    row = example_row(file="engines/a_file_with_a_longer_name_than_most_of_them.onnx", limited=True)
    assert table(row).startswith("All with backend openvino fp32 x2, batch 8:")


def test_a_batch_sweep_names_its_model_once():
    rows = [example_row(batch=batch) for batch in (1, 8)]
    other = example_row("squeezenet", None, batch=1)
    lines = table(*rows, other).splitlines()
    assert lines[2].startswith("shufflenetv1_2.0x_jester  openvino fp32 x2      1 ")
    assert lines[3].strip().startswith("8 ")
    assert lines[4].startswith("squeezenet_jester         openvino fp32 x2      1 ")


def test_two_streams_stand_behind_the_batch_with_a_note():
    text = table(example_row(streams=2))
    assert " 8, 2 streams " in text
    assert "Streams: so many batches at once" in text


def test_the_note_on_threads_fits_rows_of_several_numbers():
    assert "; x2 behind a backend: on 2 threads." in table(example_row(), example_row(streams=2))
    text = table(example_row(), example_row(threads=1, streams=2))
    assert "; xN behind a backend: on N threads." in text


def test_the_papers_speeds_stand_beside_its_own_batch_only():
    known = example_row()
    rows = [known, example_row(batch=1), example_row(batch=4), example_row(streams=2)]
    text = table(*rows)
    cells = [line.split()[-2:] for line in text.split("\n\n")[0].splitlines()]
    header = cells.index(["paper:", "TX2"])
    shown = [str(known["paper"][f"{key}_clips_per_s"]) for key in ("titan_xp", "jetson_tx2")]
    assert cells[header + 2 :] == [shown, ["-", "-"], ["-", "-"], ["-", "-"]]
    assert "Paper -: its speeds are of batch 8, not of 1, 4 or 8 in 2 streams." in text


def test_without_the_papers_batch_its_accuracies_alone_are_told():
    text = table(example_row(batch=1))
    assert "paper: Xp" not in text
    assert "Titan Xp" not in text
    assert "Top-1 accuracy by paper:" in text
    assert "Accuracies are as published" in text
    assert "Ratio" not in text


def test_all_spreads_have_one_digit_behind_the_point():
    rates = ([100.0, 100.0, 100.63], [90.0, 100.0, 107.9], [100.0, 100.0, 100.04])
    table_lines = speeds(table(*[example_row(rates=list(one)) for one in rates]))
    place = [title.strip() for title in table_lines[0]].index("spread")
    shown = [line[place - 2].strip() for line in table_lines[2:]]
    assert speeds(table(example_row(rates=list(rates[0]))))[1][place].strip() == "0.6 %"
    assert shown == ["17.9 %", "<0.1 %"]


def test_copies_have_a_table_where_a_gpu_ran():
    gpu = example_row(backend="tensorrt")
    gpu["memory"] = dict(gpu["memory"], gpu_mb=63.25)
    found = blocks(table(gpu, example_row()))["On the GPU, median of a batch:"]
    assert found[0].split("  ")[-2:] == ["without copies", "GPU MiB"]
    assert len(found) == 3  # header, line, and the one row of the two
    parts = gpu["gpu_median_ms"]
    shown = [f"{parts[name]:.2f}" for name in ("h2d", "compute", "d2h", "staging")]
    assert found[2].split()[-6:] == [
        *shown,
        "{:.1f}".format(gpu["clips_per_s_without_copies"]),
        "63",
    ]
    assert "On the GPU" not in table(example_row())


def test_power_and_energy_have_a_table_where_they_are_known():
    row = example_row(power_w=8.4)
    lines = blocks(table(row, example_row()))["Power and energy:"]
    assert len(lines) == 3
    energy = "{:.4f}".format(row["span"]["energy_per_clip_j"])
    assert lines[2].split()[1:3] == ["8.40", energy]
    assert "Power and energy" not in table(example_row())


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.18777, "0.188"), (0.2, "0.200"), (0.0004567, "0.000457"), (5.0, "5.00"), (1234.5, "1234")],
)
def test_energies_show_three_digits_that_count(value, text):
    assert significant(value) == text


@pytest.mark.parametrize(
    ("shown", "text", "on_page"),
    [
        (rate_text(0.0432), "0.043", rate_text(0.0432, PAGE)),
        (rate_text(0.66), "0.66", rate_text(0.66, PAGE)),
        (ratio_text(0.0021), "0.0021x", ratio_text(0.0021, PAGE)),
        (percent(0.0000123), "0.0012 %", percent(0.0000123, PAGE)),
        (significant(0.0000456), "0.0000456", significant(0.0000456, PAGE)),
        (whole_percent(0.0004), "<1 %", whole_percent(0.0004, PAGE)),
        (rate_text(0.0), "0.0", rate_text(0.0, PAGE)),
        (ratio_text(18.37), "18.4x", ratio_text(18.37, PAGE)),
        (rate_text(12345.67), "12345.7", rate_text(12345.67, PAGE)),
    ],
)
def test_nothing_is_rounded_to_zero_that_is_not_and_the_page_says_the_same(shown, text, on_page):
    assert shown == text
    plain = on_page.replace(",", "").replace("\u00a0\u00d7", "x").replace("\u00a0", " ")
    assert plain == text


LONG_NAME = "/inner/features/features.0/features.0.0/Conv"


def test_a_layers_name_is_cut_where_a_part_of_it_begins():
    profile = example_profile()
    profile["layers"][1]["name"] = "/outer/blocks" + LONG_NAME
    assert "  .../inner/features/features.0/features.0.0/Conv " in table(
        example_row(profile=profile)
    )


def test_layers_have_a_table_where_there_is_a_profile():
    profile = example_profile()
    text = table(example_row(profile=profile), example_row())
    title = "Layers: the slowest, the least it could take, shares of time by kind:"
    header, _, line = blocks(text)[title]
    assert [one.strip() for one in header.split("  ") if one] == [
        *("model", "slowest layer", "ms", "at least", "stem", "depthwise", "head", "other")
    ]
    assert line.split() == [
        *("shufflenetv1_2.0x_jester", LONG_NAME, "12.50", "6.25"),
        *("74", "%", "19", "%", "1", "%", "7", "%"),
    ]
    assert "Layers" not in table(example_row())
    failed = dict(profile, layers=None, by_kind=None, reason="This backend\ntells none.")
    text = table(example_row(profile=failed))
    assert "  shufflenetv1_2.0x_jester: no time of a layer: This backend tells none." in text


def test_side_tables_name_the_backend_where_it_differs():
    rows = [example_row(power_w=8.4), example_row("squeezenet", None, power_w=8.4)]
    assert "backend" not in blocks(table(*rows))["Power and energy:"][0]
    other = example_row(backend="onnxruntime", power_w=8.4)
    assert "backend" in blocks(table(*rows, other))["Power and energy:"][0]


def test_ratios_and_accuracies_stand_beside_models_of_the_paper():
    rows = [
        example_row("mobilenetv2", 1.0, 46.5),
        example_row("squeezenet", None, batch=1),
        example_row("squeezenet", None, batch=2),
    ]
    lines = blocks(table(*rows))["Ratio to the paper, and its top-1 accuracy:"]
    assert lines[2].split()[-5:] == ["0.50x", "5.17x", "50.65", "94.59", "81.60"]
    assert lines[3].split()[-5:] == ["-", "-", "40.52", "90.77", "74.94"]
    assert len(lines) == 4  # no ratio at another batch, so squeezenet is named once


def test_failures_stand_below_with_their_reasons_and_a_stopped_run_says_so():
    failure = example_failure("models/cut.onnx", "It is cut\noff.")
    text = table(example_row(), failures=[failure], complete=False)
    assert "Failed:\n  cut.onnx (auto fp32, batch 8): It is cut off." in text
    assert text.endswith("The run was stopped: 1 row is done, not all.")
    assert "stopped" not in table(example_row())
    assert table(failures=[failure]) == "Failed:\n  cut.onnx (auto fp32, batch 8): It is cut off."


def test_failures_for_one_reason_are_one_line_with_an_example():
    error = (
        "there is no file of {0}; its export needs {2} MiB. On a workstation: export-engine "
        "--model {1} --no-engine"
    )
    failures = [
        example_failure(f"models/{name}_random.onnx", error.format(f"{name}_random", flags, memory))
        for name, flags, memory in (
            ("shufflenetv1_0.5x", "shufflenetv1 --width 0.5", 900),
            ("resnet18", "resnet18", 1200),
            ("resnet50", "resnet50", 1300),
        )
    ]
    cut = example_failure("models/cut.onnx", "It is cut off.")
    lines = blocks(table(failures=[*failures, cut]))["Failed:"]
    assert lines == [
        "  3 models (auto fp32, batch 8), such as shufflenetv1_0.5x_random.onnx: there is no file "
        "of shufflenetv1_0.5x_random; its export needs 900 MiB. On a workstation: export-engine "
        "--model shufflenetv1 --width 0.5 --no-engine",
        "  cut.onnx (auto fp32, batch 8): It is cut off.",
    ]
    assert len(blocks(table(failures=failures[:2]))["Failed:"]) == 2
    other = dict(failures[2], batch=4)
    assert len(blocks(table(failures=[*failures[:2], other]))["Failed:"]) == 3


def test_warnings_stand_below_with_the_row_they_are_of():
    wide = example_row(rates=[80.0, 100.0, 101.0])
    assert wide["warnings"]
    text = table(wide)
    assert "Not firm:\n  shufflenetv1_2.0x_jester: the repeats differ by 21 %" in text
    text = table(wide, example_row(batch=1, backend="onnxruntime"))
    assert "  shufflenetv1_2.0x_jester openvino fp32 batch 8: the repeats" in text
    assert "Not firm" not in table(example_row())


def warned(name, *warnings):
    return example_row(file=f"{name}.onnx", warnings=list(warnings))


BUSY = "other programs took up to {} % of the cores' time"


def test_a_warning_that_most_rows_have_is_one_line_with_its_range():
    rows = [warned(name, BUSY.format(share)) for name, share in zip("abc", (75, 9, 83))]
    lines = blocks(table(*rows, warned("d", "it is too hot")))["Not firm:"]
    assert lines == ["  3 of 4 rows: " + BUSY.format("9-83"), "  d: it is too hot"]
    assert blocks(table(*rows))["Not firm:"] == ["  All 3 rows: " + BUSY.format("9-83")]
    same = [warned(name, BUSY.format(20)) for name in "abc"]
    assert blocks(table(*same))["Not firm:"] == ["  All 3 rows: " + BUSY.format(20)]


def test_a_warning_that_few_rows_have_stands_with_each():
    two = [warned(name, BUSY.format(share)) for name, share in (("a", 75), ("b", 83))]
    assert len(blocks(table(*two))["Not firm:"]) == 2
    three = [warned(name, BUSY.format(20)) for name in "abc"] + [warned(name) for name in "def"]
    assert len(blocks(table(*three))["Not firm:"]) == 3
    clocks = [warned(name, f"the clock of cpu{name} changed") for name in "123"]
    assert len(blocks(table(*clocks))["Not firm:"]) == 3  # a name is no figure


def compared():
    document = example_document(
        [
            example_row("squeezenet", None, 10.0, "torch-eager", warnings=["too hot"]),
            example_row("squeezenet", None, 23.0, "openvino", auto_choice=True),
            example_row("squeezenet", None, 31.0, "openvino", "bf16"),
        ]
    )
    document["settings"]["compare_backends"] = True
    return document


def test_backends_side_by_side_tell_the_papers_figures_once_and_of_autos_choice():
    lines = blocks(table_text(compared()))["Ratio to the paper, and its top-1 accuracy:"]
    assert len(lines) == 3
    assert lines[2].split() == ["squeezenet_jester", "0.034x", "0.50x", "40.52", "90.77", "74.94"]
    unknown = compared()
    for row in unknown["rows"]:
        row.pop("auto_choice", None)
    lines = blocks(table_text(unknown))["Ratio to the paper, and its top-1 accuracy:"]
    assert [line.split()[2] for line in lines[2:]] == ["0.67x"]


@pytest.mark.parametrize("text_of", [table_text, markdown_text], ids=["terminal", "Markdown"])
def test_the_comparison_comes_once_and_before_the_warnings(text_of):
    text = text_of(compared())
    assert text.count("channels-last") == 0 and text.count("PyTorch eager over") == 1
    assert text.index("PyTorch eager over") < text.index("Not firm")


def test_a_single_batch_repeat_and_thread_are_said_as_such():
    text = table(example_row(batches=1, rates=[100.0], threads=1))
    assert "x1 behind a backend: on 1 thread." in text
    assert "p95 and p99 of 1 batch are that batch" in text
    document = example_document()
    document["settings"].update(repeats=1, batches=1)
    assert "\nonce 1 batch a model after" in heading_text(document)


def test_notes_say_what_the_papers_columns_are():
    text = table(example_row())
    assert "PyTorch fp32, batch 8), not measured here" in text
    assert "random" not in text
    assert "differs" not in text
    text = table(example_row("tiny", None, frames=4))
    assert "clips of 16 x 112 x 112 only" in text
    assert "not measured here" not in text
    assert "Paper -: it has no speed for this model or width." in table(example_row(width=0.75))


def test_notes_on_batch_random_weights_and_few_batches():
    text = table(example_row(batch=1, dataset="random", batches=6))
    assert "Paper -: its speeds are of batch 8, not of 1." in text
    assert "random weights: good for speed only" in text
    assert "p99 of 18 batches" in text


def test_heading_says_machine_conditions_and_how_it_was_measured():
    lines = heading_text(example_document(board="tx2")).splitlines()
    assert lines[0] == "quill, 6 cores, 7.7 GiB, Ubuntu 18.04.6 LTS, Python 3.6.9"
    assert lines[1].startswith("software: Jetson TX2, L4T 32.7.1 (JetPack 4.6.1)")
    assert lines[2].startswith("power mode: 0 MAXN, jetson_clocks on")
    assert lines[-1] == "3 times 5 s a model after a warm-up until steady"
    document = example_document()
    document["settings"].update(batches=20, warmup_s=0.5)
    assert heading_text(document).endswith("3 times 20 batches a model after a warm-up of 0.5 s")


@pytest.mark.parametrize("row", example_rows())
def test_any_row_can_be_shown(row):
    assert table(row)
    for column in ALL:
        assert column.cell(row)


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

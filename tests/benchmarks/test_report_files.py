"""The Markdown and the CSV of a benchmark: escaped, whole, and equal to the document."""

import csv
import io

import pytest
from stand_ins.bench_documents import example_document, example_failure, example_row

from clipedge.benchmarks.markup import bullets, escaped
from clipedge.benchmarks.reports import columns
from clipedge.benchmarks.reports.csv_table import csv_text
from clipedge.benchmarks.reports.markdown import markdown_text


def read_csv(document):
    return list(csv.DictReader(io.StringIO(csv_text(document), newline="")))


def table_lines(text):
    return [line for line in text.splitlines() if line.startswith("| ")]


def test_markdown_has_one_line_a_row_and_as_many_cells_as_titles():
    document = example_document()
    header, rule, *lines = table_lines(markdown_text(document))
    assert len(lines) == len(document["rows"])
    assert {line.count(" | ") for line in (header, rule, *lines)} == {header.count(" | ")}
    assert rule.startswith("| --- | ---: |")
    for line, row in zip(lines, document["rows"]):
        assert "| {:.1f} |".format(row["clips_per_s"]) in line


def test_markdown_says_conditions_notes_and_failures():
    document = example_document(failures=[example_failure(error="No | such\nlayer.")], board="tx2")
    text = markdown_text(document)
    assert text.startswith("## Clips per second: quill, 6 cores")
    assert "\n- 2026-11-22T20:00:00Z, clipedge 0.1.0, numpy 2.4.6, openvino 2026.4.1\n" in text
    assert "\n- power mode: 0 MAXN" in text
    assert "### Not firm\n\n- squeezenet_random openvino fp32 batch 8: the repeats differ" in text
    assert "### Failed\n\n- broken.onnx (auto fp32, batch 8): No \\| such layer.\n" in text
    assert "stopped" not in text
    assert "**The run was stopped" in markdown_text(example_document(complete=False))


def test_markdown_leaves_out_what_no_row_has():
    header = table_lines(markdown_text(example_document([example_row()])))[0]
    for title in ("H2D", "J a clip", "of limit"):
        assert title not in header
    assert "paper: Xp" in header
    text = markdown_text(example_document([], [example_failure()]))
    assert table_lines(text) == []
    assert "### Failed" in text


def test_a_file_name_cannot_break_the_markdown():
    row = example_row(file="engines/a|b`<img src=x>_@me_\n# c.onnx")
    lines = table_lines(markdown_text(example_document([row])))
    assert len(lines) == 3
    assert lines[2].startswith("| a\\|b\\`\\<img src=x\\>\\_\\@me\\_ # c |")
    assert escaped("shufflenetv1_2.0x") == "shufflenetv1_2.0x"
    assert bullets(["# a", "1. b", "3.14 c", "- d"]) == "- \\# a\n- 1\\. b\n- 3.14 c\n- \\- d"


def test_csv_holds_every_figure_with_all_digits():
    document = example_document()
    lines = read_csv(document)
    assert len(lines) == len(document["rows"]) + len(document["failures"])
    for line, row in zip(lines, document["rows"]):
        assert line["error"] == ""
        assert float(line["clips_per_s"]) == row["clips_per_s"]
        assert float(line["latency_p99_ms"]) == row["latency_ms"]["p99"]
        for column in columns.ALL:
            value = column.value(row)
            if value is None:
                assert line[column.name] == ""
            elif isinstance(value, bool):
                assert line[column.name] == ("true" if value else "false")
            elif isinstance(value, str):
                assert line[column.name] == value
            else:
                assert type(value)(line[column.name]) == value


def test_the_terminal_markdown_and_the_page_show_columns_of_the_csv():
    """One list of columns: no report has a figure of its own, or another value for it."""
    named = (columns.MODEL, columns.BACKEND, columns.BATCH)
    for shown in (*columns.MARKDOWN, *columns.PAGE_FIGURES, *columns.SPEED, *columns.LAYERS):
        assert shown in named or any(shown is one for one in columns.ALL), shown.name
    for figure in columns.PAGE_FIGURES:
        assert all((figure.path, figure.page.group, figure.page.title, figure.page.explanation))


def test_csv_has_units_in_its_names_and_no_name_twice():
    names = csv_text(example_document()).splitlines()[0].split(",")
    assert len(set(names)) == len(names)
    for name in ("clips_per_s", "latency_median_ms", "energy_per_clip_j"):
        assert name in names
    for name in ("paper_jetson_tx2_clips_per_s", "paper_jester_top1_percent", "h2d_median_ms"):
        assert name in names


def test_a_failure_is_a_line_of_the_csv_without_figures():
    line = read_csv(example_document([], [example_failure("models/cut.onnx", "It is cut off.")]))[0]
    assert line["name"] == "cut"
    assert line["file"] == "models/cut.onnx"
    assert line["batch"] == "8"
    assert line["error"] == "It is cut off."
    assert line["clips_per_s"] == ""


def test_csv_is_quoted_by_the_rfc():
    row = example_row(file='engines/a,"b"\nc.onnx')
    text = csv_text(example_document([row]))
    assert '"a,""b""\nc","engines/a,""b""\nc.onnx",' in text
    assert text.endswith("\r\n")
    assert read_csv(example_document([row]))[0]["name"] == 'a,"b"\nc'


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_no_name_is_a_formula_in_a_spreadsheet(start):
    row = example_row(file=start + "HYPERLINK(1).onnx")
    failure = example_failure(start + "a.onnx", start + "b")
    measured, failed = read_csv(example_document([row], [failure]))
    assert measured["file"] == "'" + row["file"]
    assert measured["name"] == "'" + start + "HYPERLINK(1)"
    assert failed["error"] == "'" + start + "b"

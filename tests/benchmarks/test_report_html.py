"""The page says what the document says: to the digit, escaped, whole, and asks nobody else."""

import base64
import hashlib
import importlib.util
import json
import re
import sys
from html.parser import HTMLParser

import pytest
from stand_ins.bench_documents import example_document, example_failure, example_row, example_rows

from clipedge.benchmarks.reports import html
from clipedge.benchmarks.reports.html_data import LATENCIES_A_ROW, data_json, labels, thinned
from clipedge.jetson.errors import UsageError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("plotly") is None, reason="plotly is not installed: pip install plotly"
)

EVIL = "</script><script>window.hit = 1</script><img src=x onerror=hit()>\"'&ü"


class Page(HTMLParser):
    """What is in a page: the table, the scripts, the links, the words."""

    def __init__(self, text):
        super().__init__()
        self.keys, self.rows, self.scripts, self.outside, self.handlers = [], [], [], [], []
        self.text, self.policy, self.data = "", "", ""
        self.facts = []  # of the definition lists: [name, value]
        self._fact = None
        self._script = self._cell = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.outside += [found[name] for name in ("src", "href") if name in found]
        self.handlers += [name for name in found if name.startswith("on")]
        self._cell = None
        if tag == "script":
            self._script = found.get("type", "")
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"]
        if tag == "th" and "data-key" in found:
            self.keys.append(found["data-key"])
        if tag in ("dt", "dd"):
            self._fact = tag
            self.facts += [["", ""]] if tag == "dt" else []
        if tag == "tr" and "data-row" in found:
            self.rows.append([])
        if "data-value" in found:
            self._cell = {"value": json.loads(found["data-value"]), "title": found.get("title")}
            self._cell["text"] = ""
            self.rows[-1].append(self._cell)

    def handle_endtag(self, tag):
        if tag == "script":
            self._script = None
        if tag in ("dt", "dd"):
            self._fact = None

    def handle_data(self, data):
        if self._script is not None:
            if self._script:
                self.data += data
            else:
                self.scripts.append(data)
            return
        self.text += data
        if self._fact is not None:
            self.facts[-1][self._fact == "dd"] += data
        if self._cell is not None:
            self._cell["text"] += data.replace("\u25b2", "").rstrip("\n")


def page_of(document):
    return Page(html.page_text(document))


def value_at(row, key):
    for name in key.split("."):
        row = None if row is None else row.get(name)
    return row


def blank_row():
    """A row in which everything that may be null is."""
    row = example_row(model="other", width=None)
    changes = {"profile": None, "limit": None, "paper": None, "gpu_median_ms": None, "spread": None}
    row.update(changes, clips_per_s_without_copies=None, series={}, threads=None, latencies_ms=[])
    row["latency_ms"] = dict.fromkeys(row["latency_ms"])
    row["memory"] = {"process_peak_mb": None}
    return row


OF_BATCH_8 = [
    f"paper.{name}"
    for key in ("titan_xp", "jetson_tx2")
    for name in (f"{key}_clips_per_s", f"ratio_to_{key}")
]


def test_every_figure_of_the_table_is_the_documents_to_the_digit():
    document = example_document()
    page = page_of(document)
    assert len(page.rows) == len(document["rows"])
    assert page.keys[:3] == ["name", "backend", "batch"]
    for cells, row in zip(page.rows, document["rows"]):
        assert cells[2]["value"] == [row["batch"], row["streams"]]
        assert len(cells) == len(page.keys)
        for key, cell in zip(page.keys[3:], cells[3:]):
            known = value_at(row, key)
            if key in OF_BATCH_8 and (row["batch"], row["streams"]) != (8, 1):
                assert cell["title"] == "the paper's figure is of batch 8, one at a time"
                known = None
            assert cell["value"] == known, key
            if cell["value"] is None:
                assert cell["text"] == "\u2013"
            else:
                check_rounding(cell["text"], cell["value"])


def check_rounding(text, value):
    bare = text.replace(",", "").replace("\u00a0", "").rstrip("%\u00d7")
    scale = 100 if text.endswith("%") else 1
    half = 0.5 * 10 ** -len(bare.partition(".")[2])
    assert abs(float(bare) - scale * value) <= half * 1.0001, (text, value)


def test_the_table_has_a_column_for_all_that_a_row_may_have():
    keys = set(page_of(example_document()).keys)
    assert keys >= {
        "clips_per_s",
        "spread",
        "latency_ms.median",
        "latency_ms.p95",
        "latency_ms.p99",
        "clips_per_s_without_copies",
        "gpu_median_ms.h2d",
        "gpu_median_ms.compute",
        "gpu_median_ms.d2h",
        "span.energy_per_clip_j",
        "limit.share_of_strict",
        "limit.share_of_by_layer",
        "paper.titan_xp_clips_per_s",
        "paper.ratio_to_titan_xp",
        "paper.jetson_tx2_clips_per_s",
        "paper.ratio_to_jetson_tx2",
        "paper.kinetics600_top1_percent",
        "paper.jester_top1_percent",
        "paper.ucf101_top1_percent",
        "memory.process_peak_mb",
    }


def test_columns_that_no_row_has_are_left_out():
    keys = page_of(example_document([example_row()])).keys
    assert "clips_per_s" in keys and "paper.jester_top1_percent" in keys
    assert not [key for key in keys if key.startswith(("gpu_median_ms", "limit", "span"))]


def test_what_is_missing_is_a_dash_with_its_reason():
    page = page_of(example_document())
    column = page.keys.index("span.energy_per_clip_j")
    cell = page.rows[0][column]
    assert (cell["value"], cell["text"]) == (None, "\u2013")
    assert cell["title"] == "the kernel shows no RAPL counters (a virtual machine, or no driver)"


def test_the_headline_failures_and_warnings_are_there_with_reasons():
    document = example_document(board="tx2", complete=False)
    text = page_of(document).text
    assert "Jetson TX2 (quill)" in text
    assert "stopped before its end" in text
    assert "2026-11-22 20:00:00 UTC" in text
    assert "broken.onnx (auto fp32, batch 8): It is cut off." in text
    (warning,) = [one for row in document["rows"] for one in row["warnings"]]
    assert warning in text


def test_conditions_stand_under_their_names_with_units():
    facts = dict(page_of(example_document(board="tx2")).facts)
    assert facts["board, module"] == "Jetson TX2"
    assert facts["power mode, name"] == "MAXN"
    assert facts["jetson_clocks"] == "yes"
    assert facts["clocks, GPU, now"] == "1300.5 MHz"
    assert facts["temperatures, GPU-therm"] == "43 \u00b0C"
    assert facts["memory, total"] == "7861 MiB"
    assert facts["software, TensorRT"] == "8.2.1.8"
    assert facts["CPU, bandwidth"] == "20 GB/s"
    assert facts["cards"].startswith("none")
    assert facts["duration"] == "5 s"


def test_rates_of_a_row_have_their_unit_and_nested_values_their_reasons():
    facts = dict(page_of(example_document([example_row(clips_per_s=459.125)])).facts)
    assert facts["speed"] == "459.125 clips/s"
    assert facts["repeats, 2, speed"] == "459.125 clips/s"
    assert facts["memory, process peak"] == "207.4 MiB"
    assert facts["memory, GPU"] == "\u2013 it runs on the CPU"
    assert [name for name in facts if "missing" in name or "clips per" in name] == [
        "clips per s without copies"
    ]
    energy = dict(page_of(example_document([example_row(power_w=8.0)])).facts)
    assert energy["energy per clip"].endswith(" J")
    assert energy["clips a joule"].endswith(" clips/J")


def test_a_slow_model_and_a_small_energy_are_not_shown_as_zero():
    row = example_row(rates=[0.032], batches=3, power_w=8.0)
    row["span"]["energy_per_clip_j"] = 0.000123
    row["paper"]["ratio_to_titan_xp"] = 0.00017
    page = page_of(example_document([row]))
    texts = {key: cell["text"] for key, cell in zip(page.keys, page.rows[0])}
    assert texts["clips_per_s"] == "0.032"
    assert texts["span.energy_per_clip_j"] == "0.000123"
    assert texts["paper.ratio_to_titan_xp"] == "0.00017\u00a0\u00d7"
    assert texts["span.clips_per_j"] == "0.00400"  # 8 W
    assert texts["span.temperature_c.max"] == "60.5"
    assert "Memory, MiB" in page.text and "Memory, MB" not in page.text


def test_a_warning_that_most_rows_have_is_one_line():
    rows = [example_row(warnings=[f"other programs took {share} %"]) for share in (12, 20, 31)]
    text = page_of(example_document(rows)).text
    assert "Less than firm: 1" in text
    assert "All 3 rows: other programs took 12-31 %" in text


def test_a_failure_of_two_streams_says_so():
    failure = dict(example_failure(), streams=2)
    assert (
        "broken.onnx (auto fp32, batch 8, 2 streams):"
        in page_of(example_document([], [failure])).text
    )


def test_all_conditions_are_there_and_the_missing_ones_say_why():
    document = example_document()
    text = page_of(document).text
    leaves = list(strings_of(document["conditions"])) + list(strings_of(document["machine"]))
    assert len(leaves) > 20
    assert [one for one in leaves if one not in text] == []


def strings_of(facts):
    if isinstance(facts, dict):
        for value in facts.values():
            yield from strings_of(value)
    elif isinstance(facts, str):
        yield facts


def test_a_condition_that_changed_is_shown_before_and_after():
    document = example_document()
    document["conditions"]["load_average"], document["conditions_after"]["load_average"] = 0.5, 3.25
    assert "0.5 \u2192 3.25" in page_of(document).text


def test_nothing_in_the_page_leads_outside_and_only_its_own_scripts_may_run():
    page = page_of(example_document())
    assert page.outside == [] and page.handlers == []
    assert "default-src 'none'" in page.policy and "'unsafe-eval'" not in page.policy
    allowed = re.search("script-src ([^;]*)", page.policy).group(1).split()
    digests = [hashlib.sha256(script.encode("utf-8")).digest() for script in page.scripts]
    assert allowed == [f"'sha256-{base64.b64encode(one).decode()}'" for one in digests]


def test_text_of_the_document_is_never_markup():
    row = example_row(file=f"{EVIL}.onnx", warnings=[EVIL], device=EVIL)
    row["dataset"] = EVIL
    row["span"]["missing"]["power_w"] = EVIL
    row["profile"] = {"runs": 1, "layers": [{"name": EVIL, "median_ms": 1.0}], "reason": None}
    document = example_document([row], [example_failure(f"{EVIL}.onnx", EVIL)])
    document["machine"]["cpu"] = EVIL
    page = page_of(document)
    assert len(page.scripts) == 2
    assert page.outside == [] and page.handlers == []
    assert page.rows[0][0]["text"].strip() == page.rows[0][0]["value"]
    assert ["CPU", EVIL] in page.facts and ["device", EVIL] in page.facts
    assert f"(auto fp32, batch 8): {EVIL}" in page.text
    assert json.loads(page.data)["rows"][0]["profile"]["layers"][0]["name"] == EVIL


def test_the_charts_data_is_the_documents():
    document = example_document()
    data = json.loads(page_of(document).data)
    assert len(data["rows"]) == len(document["rows"])
    for drawn, row in zip(data["rows"], document["rows"]):
        for key in ("clips_per_s", "latency_ms", "limit"):
            assert drawn[key] == row[key]
        assert drawn["batches"] == len(row["latencies_ms"])
        assert drawn["series"]["power_w"] in (None, row["series"]["power_w"])


def test_many_latencies_are_thinned_and_keep_their_ends():
    latencies_ms = [float(number) for number in range(50000, 0, -1)]
    some = thinned(latencies_ms, LATENCIES_A_ROW)
    assert len(some) == LATENCIES_A_ROW
    assert (some[0], some[-1]) == (1.0, 50000.0)
    assert some == sorted(some)
    assert some[LATENCIES_A_ROW // 2] == pytest.approx(25000, rel=0.01)
    assert thinned([3.0, 1.0], LATENCIES_A_ROW) == [1.0, 3.0]


def test_numbers_that_json_has_not_are_null_in_the_data():
    row = example_row(clips_per_s=10.0, limit={"device": "x", "share_of_strict": float("inf")})
    data = json.loads(data_json(example_document([row])), parse_constant=pytest.fail)
    assert data["rows"][0]["limit"]["share_of_strict"] is None


def test_each_row_has_a_name_of_its_own_no_longer_than_needed():
    same = [example_row(batch=batch) for batch in (1, 8)] + [example_row(batch=8)]
    stem = "shufflenetv1_2.0x"
    assert labels([example_row()]) == [stem]
    assert labels(same) == [f"{stem}, batch 1", f"{stem}, batch 8", f"{stem}, batch 8 #2"]
    others = [example_row(backend=name) for name in ("openvino", "onnxruntime")]
    assert labels(others)[1] == f"{stem}, onnxruntime fp32 \u00d72"


@pytest.mark.parametrize(
    "rows", [[], [example_row()], [blank_row(), blank_row()]], ids=["none", "one", "blank"]
)
@pytest.mark.parametrize("failures", [[], [example_failure()]], ids=["", "failed"])
def test_any_document_makes_a_page(rows, failures):
    changes = {"conditions_after": None, "ended_utc": None, "complete": False, "packages": {}}
    page = page_of(example_document(rows, failures, **changes))
    assert len(page.rows) == len(rows)
    assert ("Nothing was measured." in page.text) == (not rows)
    assert ("It is cut off." in page.text) == bool(failures)


def test_plotlys_python_is_not_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "plotly", raising=False)
    page_of(example_document(example_rows()[:1]))
    assert "plotly" not in sys.modules


def test_without_plotly_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(html, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="not installed: python3 -m pip install plotly"):
        html.require_plotly()


def test_plotly_without_its_script_is_said(monkeypatch, tmp_path):
    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(html, "find_spec", lambda name: Spec)
    with pytest.raises(UsageError, match=r"plotly\.min\.js"):
        html.require_plotly()

"""The page of a benchmark in a real browser: it draws, sorts, answers and prints, all by itself."""

import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from stand_ins.bench_documents import example_document, example_failure, example_row, example_rows

from clipedge.benchmarks.reports.html import page_text
from clipedge.benchmarks.speed.recommend import recommend
from clipedge.jetson.paper import TABLE_8

if find_spec("plotly") is None:
    pytest.skip("plotly is not installed: pip install plotly", allow_module_level=True)
expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

EVIL = "<img src=x onerror=hit()><b>b\"'&ü<script>window.hit = 1"
DASH = "\u2013"
LIMIT_MS = 30000

Open = Callable[..., Any]


@pytest.fixture
def open_report(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """``open_report(document, **context)``: its page; it may ask for nothing, nor complain."""
    contexts, complaints = [], []

    def open_one(document: dict[str, Any], **options: Any) -> Any:
        path = tmp_path / "report.html"
        path.write_text(page_text(document), encoding="utf-8")
        options.setdefault("viewport", {"width": 1280, "height": 860})
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(LIMIT_MS)
        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("request", lambda one: complaints.append(one.url) if one.url != url else None)
        url = path.as_uri()
        page.goto(url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert complaints == []


def front_row(name: str, clips_per_s: float, jester: float, kinetics: float | None) -> Any:
    row = example_row("shufflenetv1", FRONT_WIDTHS[name], clips_per_s, batches=3)
    row["file"] = f"{name}.onnx"
    row["paper"].update(jester_top1_percent=jester, kinetics600_top1_percent=kinetics)
    return row


FRONT_WIDTHS = {"a": 0.5, "a-again": 0.5, "b": 1.0, "c": 1.5, "d": 2.0, "e": 2.0}
FRONT_ROWS = [
    front_row("a", 100.0, 90.0, None),
    front_row("a-again", 100.0, 90.0, None),
    front_row("b", 50.0, 95.0, 40.0),
    front_row("c", 40.0, 94.0, 60.0),
    front_row("d", 200.0, 80.0, 30.0),
    front_row("e", 200.0, 70.0, 20.0),
]


def texts_of_front(page: Any) -> list[str]:
    """The names drawn on the chart, as they stand on it."""
    texts = page.locator("#front-chart .textpoint").all_text_contents()
    return sorted(text for text in texts if text and "clips/s" not in text)


def listed_front(page: Any) -> list[str]:
    return re.findall(r"(\S+) \(", page.locator("#front-list").inner_text())


def choose(page: Any, clips_per_s: float) -> str:
    page.locator("#min-rate").fill(str(clips_per_s))
    return page.locator("#choice").inner_text()


def test_the_front_and_the_answer_are_those_of_the_data_set(open_report: Open) -> None:
    page = open_report(example_document(FRONT_ROWS))
    assert listed_front(page) == ["b", "a", "d"]
    assert texts_of_front(page) == ["a", "b", "d"]
    assert "take b: 95 % at 50 clips/s" in page.locator("#choice").inner_text()
    assert "take b" in choose(page, 49.5)  # the rate of the slowest repeat
    assert "take a" in choose(page, 49.6)
    assert "take a: 90 % at 100 clips/s" in choose(page, 99)
    assert "take d: 80 % at 200 clips/s" in choose(page, 198)
    answer = choose(page, 201)
    assert answer.startswith("No model") and "reaches 201 clips/s" in answer
    assert "the fastest is d" in answer

    page.locator("#dataset").select_option("kinetics600")
    assert listed_front(page) == ["c", "b", "d"]
    assert texts_of_front(page) == ["b", "c", "d"]
    assert "take c: 60 % at 40 clips/s" in choose(page, 30)
    assert "by its published accuracy on Kinetics-600" in choose(page, 30)
    assert "has no accuracy of them: a; a-again." in page.locator("#front-list").inner_text()

    # The paper's points can be switched off.
    names = "document.getElementById('front-chart').data.map((trace) => trace.name)"
    for box, name in (("#show-tx2", "paper: Jetson TX2"), ("#show-xp", "paper: Titan Xp")):
        assert name in page.evaluate(names)
        page.locator(box).uncheck()
        assert name not in page.evaluate(names)


def test_the_answer_is_that_of_recommend(open_report: Open) -> None:
    rows = [
        *example_rows(),
        example_row("mobilenetv2", 1.0, 45.0, batch=1),
        example_row("shufflenetv2", 2.0, 300.0, batch=16, rates=[100.0, 300.0, 310.0]),
    ]
    document = example_document(rows)
    page = open_report(document)
    for key in ("jester", "kinetics600", "ucf101"):
        page.locator("#dataset").select_option(key)
        for rate in (1, 44.8, 99, 400):
            said = choose(page, rate)
            line = recommend(document, rate, key)
            name = line.partition(",")[0].replace(" ", "_")
            assert f"take {name}_" in said, (key, rate, line)
            assert re.search(r"batch \d+", line).group() in said, (key, rate, line)


def column_of(page: Any, key: str) -> list[str]:
    heads = page.locator("#rows th[data-key]")
    index = heads.evaluate_all("(all, key) => all.findIndex((one) => one.dataset.key === key)", key)
    cells = page.locator(f"#rows tbody tr > :nth-child({index + 1})")
    return [text.replace(",", "") for text in cells.all_inner_texts()]


def test_the_table_sorts_by_click_and_by_keyboard(open_report: Open) -> None:
    page = open_report(example_document())
    first = [float(text) for text in column_of(page, "clips_per_s")]
    assert first != sorted(first)
    head = page.locator('th[data-key="clips_per_s"]')
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in column_of(page, "clips_per_s")] == sorted(first, reverse=True)
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert [float(text) for text in column_of(page, "clips_per_s")] == sorted(first)
    assert "ascending" in page.locator("#sorted").inner_text()

    page.locator('th[data-key="limit.share_of_strict"] button').click()
    assert head.get_attribute("aria-sort") is None
    shares = column_of(page, "limit.share_of_strict")
    known = [float(text.rstrip("%\u00a0")) for text in shares if text != DASH]
    assert set(shares[len(known) :]) == {DASH}  # the unknown stay below
    assert known and known == sorted(known, reverse=True)
    page.locator('th[data-key="name"] button').click()
    names = column_of(page, "name")
    assert names[0].startswith("mobilenetv1") and names[-1].startswith("tiny")


def test_every_chart_is_drawn_and_follows_its_switches_and_the_theme(open_report: Open) -> None:
    page = open_report(example_document(), color_scheme="light")
    shown = page.locator(".chart:visible")
    assert shown.count() == 10  # front, latency, five of the series, two of the limit, layers
    assert page.locator(".chart:visible .main-svg").first.is_visible()
    assert page.evaluate(
        "[...document.querySelectorAll('.chart')].every((one) => one.hidden || one.data.length)"
    )
    ticks = page.locator("#latency-chart .ytick text").all_text_contents()
    assert len(ticks) == 8
    page.locator("#latency-unit").select_option("ms")
    assert page.locator("#latency-chart .ytick text").all_text_contents() == ticks
    assert page.locator("#latency-chart .xtitle").text_content() == "ms"
    page.locator("#layers-order").select_option("run")
    assert "order" in page.locator("#layers-chart .xtitle").text_content()
    page.locator("#series-row").select_option(index=1)
    assert page.evaluate("document.getElementById('series-power_w').data.length") == 1

    title = page.locator("#front-chart .xtitle")
    expect(title).to_have_css("fill", "rgb(23, 32, 43)")
    page.emulate_media(color_scheme="dark")
    expect(title).to_have_css("fill", "rgb(230, 235, 241)", timeout=LIMIT_MS)


def test_nothing_of_the_document_runs_or_becomes_markup(open_report: Open) -> None:
    row = example_row(file=f"{EVIL}.onnx", warnings=[EVIL], limited=True, power_w=5.0)
    row["model"] = row["backend"] = EVIL
    row["profile"] = {"runs": 1, "layers": [{"name": EVIL, "median_ms": 1.0}], "reason": None}
    failure = example_failure("x.onnx", EVIL)
    page = open_report(example_document([row], [failure]))
    assert page.evaluate("window.hit") is None
    assert page.locator("img, main b, .chart a").count() == 0
    assert page.locator("tbody th").inner_text().startswith(EVIL)
    assert EVIL in page.locator("#notices").inner_text()
    for chart in ("#limit-chart", "#latency-chart"):
        name = page.locator(f"{chart} .ytick").text_content()
        assert name.replace("\u00a0", " ").startswith(EVIL)


def test_it_prints_light_and_whole(open_report: Open) -> None:
    page = open_report(example_document(), color_scheme="dark")
    wide = page.locator("#front-chart .main-svg").first.bounding_box()["width"]
    pdf = page.pdf(prefer_css_page_size=True)
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf))
    assert pages >= 7  # a section begins a page
    assert page.locator("#front-chart .main-svg").first.bounding_box()["width"] == wide

    page.set_viewport_size({"width": 970, "height": 700})  # what an A4 page, lying, has
    page.emulate_media(media="print", color_scheme="dark")
    expect(page.locator("html")).to_have_class("printing", timeout=LIMIT_MS)
    for chart in page.locator(".chart:visible").all():
        drawn = chart.locator(".main-svg").first.bounding_box()
        assert drawn["width"] > 300 and drawn["height"] > 100
        assert drawn["x"] + drawn["width"] <= 970
    assert page.evaluate("document.documentElement.scrollWidth") <= 970
    expect(page.locator("#front-chart .xtitle")).to_have_css("fill", "rgb(23, 32, 43)")
    assert not page.locator(".tools:visible").count()
    page.emulate_media(media="screen")
    expect(page.locator("html")).not_to_have_class("printing", timeout=LIMIT_MS)


def test_sixty_rows_fit_a_phone(open_report: Open) -> None:
    models = [(one.model, one.width) for one in TABLE_8]
    rows = [
        example_row(*models[number % len(models)], 5.0 + number, backend, batches=5, limited=True)
        for number in range(20)
        for backend in ("openvino", "onnxruntime", "tensorrt")
    ]
    page = open_report(example_document(rows), viewport={"width": 360, "height": 780})
    assert page.locator("#rows tbody tr").count() == 60
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    box = page.locator(".box")
    assert box.evaluate("(one) => one.scrollWidth > one.clientWidth")
    assert box.bounding_box()["height"] < 780
    assert page.locator("#latency-chart .ytick").count() == 60


@pytest.mark.parametrize("rows", [0, 2], ids=["failures alone", "blank rows"])
def test_what_is_not_there_is_said_and_leaves_no_empty_chart(open_report: Open, rows: int) -> None:
    page = open_report(example_document([blank_row() for _ in range(rows)], [example_failure()]))
    assert page.locator("#conditions").is_visible()
    assert page.locator(".chart:visible, .tools:visible").count() == 0
    text = page.locator("main").inner_text()
    if not rows:
        assert "Nothing was measured." in text
    else:
        assert "Power is not known: the kernel shows no RAPL counters" in text
        assert "The layers were not timed" in text
        assert "No limit is known" in text
        assert "no accuracy of any of these models" in text


def blank_row() -> dict[str, Any]:
    """A row in which everything that may be null is."""
    row = example_row(model="other", width=None)
    for name in ("profile", "limit", "paper", "gpu_median_ms", "spread", "threads", "clips_per_s"):
        row[name] = None
    row["latency_ms"] = dict.fromkeys(row["latency_ms"])
    row.update(series={}, latencies_ms=[], memory={"process_peak_mb": None})
    return row

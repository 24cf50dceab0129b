"""Comparing with an earlier run: what is noise, what has regressed, and what explains it."""

import numpy as np
import pytest
from stand_ins.bench_documents import example_document, example_failure, example_row

from clipedge.benchmarks import cli
from clipedge.benchmarks.reports import print_tables
from clipedge.benchmarks.speed import run
from clipedge.benchmarks.speed.baseline import changes, changes_text, regressed, verdict_of
from clipedge.benchmarks.speed.conditions_apart import condition_differences
from clipedge.benchmarks.speed.document import write_document
from clipedge.benchmarks.speed.noise import LEAST, noise_of_ratio, rates_of, t_quantile
from clipedge.jetson.errors import UsageError

ALLOWED = 0.05


def document(*rows, **fields):
    return example_document(list(rows), **fields)


def compared(now, before):
    """Return the changes of two documents, or of one row each."""
    documents = [one if "rows" in one else document(one) for one in (now, before)]
    return changes(documents[0], documents[1], ALLOWED)


def verdicts(now, before):
    return [change.verdict for change in compared(now, before)]


def test_the_same_run_has_not_changed():
    same = example_document()
    found = changes(same, same, ALLOWED)
    assert {change.verdict for change in found} == {"within noise"}
    assert [change.ratio for change in found] == [1.0] * len(same["rows"])
    assert not regressed(found)


@pytest.mark.parametrize(
    ("rates", "verdict"),
    [
        ([90.0, 90.1, 90.2], "regressed"),
        ([97.0, 97.1, 97.2], "slower"),
        ([99.5, 99.6, 99.7], "within noise"),
        ([110.0, 110.1, 110.2], "faster"),
        ([80.0, 90.0, 101.0], "unsure"),
    ],
)
def test_a_change_has_its_word(rates, verdict):
    found = compared(example_row(rates=rates), example_row(rates=[100.0, 100.1, 99.9]))
    assert [change.verdict for change in found] == [verdict]
    assert regressed(found) == (verdict == "regressed")
    (change,) = found
    assert (change.before, change.now) == (100.0, rates[1])
    assert change.ratio == pytest.approx(rates[1] / 100.0)


def test_a_drop_past_the_limit_needs_to_be_past_the_noise_too():
    assert verdict_of(0.90, 0.05, ALLOWED) == "regressed"
    assert verdict_of(0.90, 0.20, ALLOWED) == "unsure"
    assert verdict_of(0.90, None, ALLOWED) == "unsure"
    assert verdict_of(0.951, 0.02, ALLOWED) == "slower"
    assert verdict_of(1.20, None, ALLOWED) == "within noise"
    assert verdict_of(0.90, 0.05, 0.15) == "slower"


def test_noise_covers_what_repeats_differ_by_when_nothing_changed():
    draw = np.random.RandomState(7)
    outside, runs = 0, 400
    for _ in range(runs):
        two = [
            {"repeats": [{"clips_per_s": rate} for rate in 100.0 * np.exp(0.03 * normal)]}
            for normal in draw.standard_normal((2, 3))
        ]
        medians = [np.median([one["clips_per_s"] for one in row["repeats"]]) for row in two]
        outside += abs(np.log(medians[0] / medians[1])) > noise_of_ratio(*two)
    assert outside <= 0.06 * runs


def test_noise_of_hand_made_repeats():
    # Logarithms 0.1 apart: s = 0.1 each, 4 degrees of freedom, t = 2.776.
    rates = [100.0 * np.exp(step) for step in (-0.1, 0.0, 0.1)]
    row = {"repeats": [{"clips_per_s": rate} for rate in rates]}
    expected = 2.776 * np.sqrt(np.pi / 2) * np.sqrt(2 * 0.1**2 / 3)
    assert noise_of_ratio(row, row) == pytest.approx(expected)
    steady = {"repeats": [{"clips_per_s": 100.0}] * 3}
    assert noise_of_ratio(steady, steady) == LEAST


def test_students_quantiles_are_those_of_the_tables():
    known = {1: 12.706, 4: 2.776, 10: 2.228, 11: 2.201, 15: 2.131, 30: 2.042, 120: 1.980}
    for freedom, value in known.items():
        assert t_quantile(freedom) == pytest.approx(value, abs=0.002)
    assert t_quantile(4.9) == 2.776


def test_one_repeat_is_judged_by_blocks_of_its_latencies():
    quiet = example_row(rates=[100.0], jitter=0.005)
    loud = example_row(rates=[90.0], jitter=0.5)
    assert len(rates_of(quiet)) == 5
    assert np.mean(rates_of(quiet)) == pytest.approx(100.0, rel=0.01)
    assert np.mean(rates_of(example_row(rates=[100.0], streams=2))) == pytest.approx(100, rel=0.02)
    assert verdicts(example_row(rates=[90.0], jitter=0.005), quiet) == ["regressed"]
    assert verdicts(loud, quiet) == ["unsure"]


def test_a_single_latency_tells_no_noise():
    one = example_row(rates=[100.0], batches=1)
    assert noise_of_ratio(one, one) is None
    assert "within noise" in changes_text(compared(one, one), ALLOWED)


def test_rows_that_came_and_went_are_said():
    before = document(example_row("squeezenet", None), example_row("mobilenetv1", 1.0))
    now = document(example_row("mobilenetv1", 1.0), example_row("resnet18", None))
    found = compared(now, before)
    assert [(change.name, change.verdict) for change in found] == [
        ("squeezenet_jester", "gone"),
        ("mobilenetv1_1.0x_jester", "within noise"),
        ("resnet18_jester", "new"),
    ]
    assert not regressed(found)


def test_a_baseline_that_fits_no_row_proves_nothing():
    found = compared(document(example_row(batch=4), example_row(batch=2)), example_row())
    with pytest.raises(UsageError, match=r"no row that could be compared .*\(1 gone, 2 new\)"):
        regressed(found)
    assert changes_text(found, ALLOWED).splitlines()[-1].endswith("new")  # no conclusion
    with pytest.raises(UsageError, match="no row that could be compared"):
        regressed(compared(document(), document()))


def test_rows_that_could_not_be_compared_are_counted():
    before = document(example_row(), example_row(batch=2))
    text = changes_text(compared(document(example_row(), example_row(batch=4)), before), ALLOWED)
    assert text.endswith(
        "No row of 1 is slower by more than 5 % and the noise; not compared: 1 gone, 1 new."
    )
    assert "not compared" not in changes_text(compared(before, before), ALLOWED)


def test_unknown_noise_is_not_called_large():
    before = example_row(rates=[100.0], batches=1)
    text = changes_text(compared(example_row(rates=[80.0], batches=1), before), ALLOWED)
    assert "; unsure, as the noise is not known: shufflenetv1_2.0x_jester: quiet" in text
    assert "as large" not in text


def test_a_slow_row_is_not_shown_as_zero():
    row = example_row(rates=[0.0312, 0.0313, 0.0314])
    assert changes_text(compared(row, row), ALLOWED).splitlines()[2].split()[4:6] == ["0.031"] * 2


def test_another_batch_precision_or_width_is_another_row():
    before = example_row()
    for changed in (
        example_row(batch=4),
        example_row(streams=2),
        example_row(precision="bf16"),
        example_row(width=1.5),
        example_row(frames=8),
    ):
        assert verdicts(changed, before) == ["gone", "new"]


def test_a_row_that_failed_now_counts_as_regressed():
    before = example_row()
    failure = example_failure("/elsewhere/shufflenetv1_2.0x_jester.onnx", "It is\ncut off.")
    found = compared(document(failures=[failure]), document(before))
    assert [change.verdict for change in found] == ["failed now"]
    assert regressed(found)
    text = changes_text(found, ALLOWED)
    assert "batch 8: It is cut off." in text
    assert text.endswith("\nFailed that ran before: shufflenetv1_2.0x_jester.")
    for other in (dict(failure, batch=4), dict(failure, backend="onnxruntime")):
        assert verdicts(document(failures=[other]), document(before)) == ["gone", "failed"]


def test_a_failure_that_the_baseline_knows_nothing_of_is_said_and_is_no_regression():
    failures = [example_failure(f"models/new{number}.onnx") for number in range(7)]
    before = document(example_row(), failures=[example_failure("old/new0.onnx")])
    found = compared(document(example_row(), failures=failures), before)
    assert [change.verdict for change in found] == ["within noise"] + ["failed"] * 6
    assert not regressed(found)
    lines = changes_text(found, ALLOWED).splitlines()
    assert lines[3].split() == ["new1", "auto", "fp32", "8", "-", "-", "-", "-", "failed"]
    assert lines[-1] == (
        "No row of 1 is slower by more than 5 % and the noise; "
        "failed and new: new1, new2, new3, new4, new5 and 1 more."
    )


def test_a_line_is_free_between_a_runs_tables_and_the_comparison(tmp_path, monkeypatch, capsys):
    now = document(example_row(rates=[80.0, 100.0, 101.0]))
    old = str(write_document(tmp_path / "old.json", now))

    def measured(*_):
        print_tables(now)
        return now

    monkeypatch.setattr(run, "measure_and_report", measured)
    assert cli.main(["a.onnx", "--baseline", old]) == 0
    assert "--duration\n\nmodel " in capsys.readouterr().out
    assert cli.main([old, "--baseline", old]) == 0
    assert capsys.readouterr().out.startswith("model ")


def test_a_change_of_autos_choice_is_compared_and_said():
    before, now = example_row(clips_per_s=100.0), example_row(clips_per_s=50.0)
    now.update(backend="onnxruntime", backend_version="1.20.0")
    (change,) = compared(now, before)
    assert change.verdict == "regressed"
    assert "auto chose onnxruntime, was openvino" in change.notes
    asked = document(now)
    asked["settings"]["backend"] = "onnxruntime"
    assert verdicts(asked, document(before)) == ["gone", "new"]


def test_two_files_of_one_model_are_compared_each_with_itself():
    slow = example_row(clips_per_s=50.0, dataset="random")
    fast = example_row(clips_per_s=100.0)
    assert verdicts(document(slow, fast), document(fast, slow)) == ["within noise"] * 2
    # A file that was renamed is still the same model.
    renamed = example_row(clips_per_s=100.0, file="models/renamed.onnx")
    assert verdicts(document(renamed), document(fast)) == ["within noise"]


def test_what_explains_a_change_is_named():
    before = example_row(power_w=8.0)
    now = example_row(power_w=8.0, clips_per_s=70.0, threads=1, backend_version="2025.1.0")
    now["span"] = dict(now["span"], gpu_mhz={"min": 800.0, "mean": 1122.0, "max": 1300.5})
    now["span"]["throttled"] = dict(before=False, during=True, after=True)
    (change,) = compared(now, before)
    for text in (
        "threads 1, was 2",
        "version 2025.1.0, was 2026.4.1",
        "GPU clock 1122 MHz, was 1300 MHz",
        "throttled now",
    ):
        assert text in change.notes
    assert "threads 1, was 2; GPU clock" in changes_text([change], ALLOWED)


def test_differences_of_conditions_are_named():
    assert condition_differences(example_document(), example_document()) == []
    before, now = example_document(board="tx2"), example_document(board="tx2")
    now["conditions"]["power_mode"]["name"] = "MAXQ"
    now["conditions"]["jetson_clocks"] = False
    now["conditions"]["clocks"]["gpu"]["max_mhz"] = 854.0
    now["packages"]["openvino"] = "2025.1"
    now["busy_share_at_start"] = 0.5
    assert condition_differences(now, before) == [
        "power mode MAXQ, was MAXN",
        "jetson_clocks off, was on",
        "highest clock of the GPU 854.0, was 1300.5",
        "openvino 2025.1, was 2026.4.1",
        "cores busy at the start 50 %, was 1 %",
    ]
    other = condition_differences(example_document(board="nano"), before)
    assert any(line.startswith("board ") for line in other)
    card, newer = example_document(board="titan_xp"), example_document(board="titan_xp")
    newer["conditions"]["cards"][0]["driver"] = "999.1"
    (line,) = condition_differences(newer, card)
    assert line.startswith("GPU 0 driver 999.1, was ")


def test_the_text_has_figures_reasons_and_one_line_of_conclusion():
    found = compared(
        document(example_row(rates=[89.9, 90.0, 90.1]), example_row("squeezenet", None)),
        document(example_row(rates=[99.9, 100.0, 100.1]), example_row("squeezenet", None)),
    )
    lines = changes_text(found, ALLOWED, ["power mode MAXQ, was MAXN"]).splitlines()
    assert lines[2].split() == [
        *("shufflenetv1_2.0x_jester", "openvino", "fp32", "8", "100.0", "90.0"),
        *("-10.0", "%", "1.0", "%", "regressed"),
    ]
    assert lines[-2] == "The conditions differ: power mode MAXQ, was MAXN."
    assert lines[-1] == (
        "1 of 2 is slower by more than 5 % and the noise (shufflenetv1_2.0x_jester)."
    )
    unsure = compared(example_row(rates=[80.0, 90.0, 101.0]), example_row())
    assert "measure both again with more --repeats" in changes_text(unsure, ALLOWED)


def test_documents_that_were_written_and_read_compare_alike(tmp_path):
    from clipedge.benchmarks.speed.document import read_document

    now, before = example_document(), example_document()
    paths = [
        write_document(tmp_path / name, one) for name, one in (("a.json", now), ("b.json", before))
    ]
    read = [read_document(path) for path in paths]
    assert changes(read[0], read[1], ALLOWED) == changes(now, before, ALLOWED)

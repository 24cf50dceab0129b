import pytest

from clipedge.jetson import paper
from clipedge.trainside import cli
from clipedge.trainside.complexity import measure
from clipedge.trainside.models import list_models, widths
from clipedge.trainside.summary import NEAR_PERCENT, count, mark

PAPER_ROWS = [(row.model, row.width) for row in paper.TABLE_8]
RESNETS = ("resnet18", "resnet50", "resnet101")


@pytest.fixture(scope="module")
def counted():
    return {pair: count(*pair).counted for pair in PAPER_ROWS}


@pytest.mark.parametrize("pair", PAPER_ROWS)
def test_mflops_agree_with_table_8_after_rounding(pair, counted):
    assert round(counted[pair].mflops) == paper.published(*pair).mflops


@pytest.mark.parametrize("pair", PAPER_ROWS)
def test_parameters_agree_with_table_8_after_rounding_but_the_resnets(pair, counted):
    published = paper.published(*pair).params_millions
    if pair[0] in RESNETS:
        assert counted[pair].params_millions == pytest.approx(published, rel=NEAR_PERCENT / 100)
    else:
        assert round(counted[pair].params_millions, 2) == published


@pytest.mark.parametrize("name", list(paper.TABLE_7))
def test_layers_agree_with_table_7_at_every_width(name):
    for width in widths(name) or (None,):
        assert measure(name, width).layers == paper.TABLE_7[name]


def test_i3d_has_the_22_layers_of_inception_v1_and_no_skip_connection(counted):
    assert counted["i3d", None].layers == (22, 21, 0)


def test_the_released_shortcut_costs_more_than_the_papers_row():
    assert measure("resnet50").params_millions == pytest.approx(47.43, abs=0.005)
    assert measure("resnet101").params_millions == pytest.approx(86.47, abs=0.005)


def test_classes_change_the_head_alone():
    many, few = measure("mobilenetv2", 1.0, 600), measure("mobilenetv2", 1.0, 27)
    assert many.parameters - few.parameters == (600 - 27) * (1280 + 1)
    assert many.flops - few.flops == (600 - 27) * (2 * 1280 - 1)


@pytest.mark.parametrize(
    ("ours", "published", "decimals", "expected"),
    [(97.6, 98, 0, "="), (44.65, 44.54, 2, "~"), (47.43, 44.54, 2, "!"), (98.6, 98, 0, "!")],
)
def test_a_mark_says_how_near_a_figure_is(ours, published, decimals, expected):
    assert mark(ours, published, decimals) == expected


def test_the_command_prints_every_row_of_the_paper_and_all_adds_the_other_widths(capsys):
    assert cli.main(["summary"]) == 0
    papers = capsys.readouterr().out
    assert cli.main(["summary", "--all"]) == 0
    everything = capsys.readouterr().out
    for text, pairs in [
        (papers, PAPER_ROWS),
        (everything, [(name, w) for name in list_models() for w in widths(name) or (None,)]),
    ]:
        labels = {line.split("  ")[0] for line in text.splitlines()}
        assert {name if w is None else f"{name} {w}x" for name, w in pairs} <= labels
    assert "shufflenetv2 0.5x" not in papers
    assert "! " not in "".join(papers.splitlines()[:-5])  # the legend explains the mark


def test_one_model_can_be_asked_for(capsys):
    assert cli.main(["summary", "--model", "shufflenetv1", "--width", "2.0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    figures = " ".join(lines[2].split())
    assert figures == "shufflenetv1 2.0x 50 = 50 33 = 33 16 = 16 4.76 = 4.76 538 = 538"
    assert len([line for line in lines if line.startswith("shufflenetv1")]) == 1


def test_another_number_of_classes_is_said_and_not_compared(capsys):
    assert cli.main(["summary", "--model", "i3d", "--classes", "27"]) == 0
    text = capsys.readouterr().out
    assert "Heads of 27 classes" in text
    assert "12.31" in text  # 12.70M less what 373 classes take


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "mobilnetv1"], "did you mean mobilenetv1"),
        (["--model", "mobilenetv1", "--width", "0.7"], "the nearest are 0.5 and 1.0"),
        (["--width", "0.5"], "needs --model"),
        (["--all", "--model", "squeezenet"], "do not go together"),
        (["--classes", "0"], "not a whole number above 0"),
    ],
)
def test_a_wrong_call_exits_2_with_at_most_two_lines(arguments, said, capsys):
    try:
        status = cli.main(["summary", *arguments])
    except SystemExit as stop:  # argparse's own
        status = stop.code
    printed = capsys.readouterr()
    assert status == 2
    assert said in printed.err
    assert len(printed.err.splitlines()) <= 2
    assert printed.out == ""

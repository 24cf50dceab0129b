"""The pages that tell which commands to type: the commands are ours, and right."""

import contextlib
import importlib
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BOARD_PAGE = ROOT / "docs/on-the-board.md"
OWN_GESTURES_PAGE = ROOT / "docs/own-gestures.md"
PAGES = (
    BOARD_PAGE,
    ROOT / "docs/benchmark.md",
    OWN_GESTURES_PAGE,
    ROOT / "docs/data-sets.md",
    ROOT / "docs/live.md",
    ROOT / "docs/training.md",
    ROOT / "docker/README.md",
    ROOT / "README.md",
)
PARSERS = {
    "train-clips": "clipedge.trainside.cli",
    "export-engine": "clipedge.export.cli",
    "jetson-bench": "clipedge.benchmarks.cli",
    "gesture-demo": "clipedge.jetson.cli",
    "gesture-record": "clipedge.jetson.record_cli",
}


def _lines(page: Path) -> list[str]:
    """Return the lines of the page's code blocks, continued ones joined."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def _own_commands(page: Path) -> list[list[str]]:
    """Return our commands on the page as words, also those that docker is asked to run."""
    commands = []
    for line in _lines(page):
        words = shlex.split(line, comments=True)
        names = [Path(word).name for word in words]
        start = next((at for at, name in enumerate(names) if name in PARSERS), None)
        if start is not None:
            commands.append([names[start], *words[start + 1 :]])
    return commands


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_ours_on_a_page_is_one_our_parsers_take(page: Path) -> None:
    commands = _own_commands(page)
    assert len(commands) >= 3
    for name, *arguments in commands:
        # A parser raises UsageError for what it does not know.
        with contextlib.suppress(SystemExit):  # of a flag that shows something and exits
            importlib.import_module(PARSERS[name]).build_parser().parse_args(arguments)


def test_the_page_goes_the_whole_way_to_a_running_engine() -> None:
    names = [words[0] for words in _own_commands(BOARD_PAGE)]
    assert list(dict.fromkeys(names)) == ["export-engine", "jetson-bench", "gesture-demo"]
    assert any("--onnx" in words for words in _own_commands(BOARD_PAGE))


def test_the_page_of_own_gestures_goes_from_the_camera_to_the_live_demo() -> None:
    names = [words[0] for words in _own_commands(OWN_GESTURES_PAGE)]
    order = ["gesture-record", "train-clips", "export-engine", "gesture-demo"]
    assert list(dict.fromkeys(names)) == order


def test_the_page_installs_what_the_boards_image_installs_in_the_same_order() -> None:
    dockerfile = (ROOT / "docker/jetson.Dockerfile").read_text()
    _, packages, _ = dockerfile.split("\nFROM ")[-3:]
    image = re.findall(r"python3 -m pip install ([^\\\n]+)", packages)
    image = [line.replace("--no-cache-dir ", "").strip() for line in image]
    page = [
        line.partition("pip install ")[2] for line in _lines(BOARD_PAGE) if "pip install" in line
    ]
    wheel = next(line.split()[-1] for line in page if line.endswith(".whl"))
    assert page == [line.replace("/dist/*.whl", wheel) for line in image]


def test_the_page_names_the_wheel_that_this_version_builds() -> None:
    match = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert match is not None
    wheels = set(re.findall(r"clipedge-[\w.]+?-py3-none-any\.whl", BOARD_PAGE.read_text()))
    assert wheels == {f"clipedge-{match.group(1)}-py3-none-any.whl"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_of_ours_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target

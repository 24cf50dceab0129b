"""The wheel: what is in it, what it asks for, and how light its commands start."""

import configparser
import os
import re
import shutil
import statistics
import subprocess
import sys
import zipfile
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("jetson", "export", "benchmarks", "trainside")
COMMANDS = ("train-clips", "export-engine", "jetson-bench", "gesture-demo", "gesture-record")
HELP_CPU_LIMIT_S = 0.3
HELP_RUNS = 5


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by way of a source archive from a copy without earlier build output."""
    tree = tmp_path_factory.mktemp("tree")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, tree / name)
    built = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", "."],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert built.returncode == 0, (built.stdout + built.stderr)[-2000:]
    (found,) = (tree / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def bare_path(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Folders for sys.path that hold the unpacked wheel and numpy, and nothing else."""
    unpacked = tmp_path_factory.mktemp("wheel")
    zipfile.ZipFile(wheel).extractall(unpacked)
    spec = find_spec("numpy")
    assert spec is not None and spec.origin is not None
    site_packages = Path(spec.origin).parents[1]
    numpy_alone = tmp_path_factory.mktemp("numpy")
    for name in ("numpy", "numpy.libs"):  # The second holds the shared libraries of Linux wheels.
        if (site_packages / name).exists():
            (numpy_alone / name).symlink_to(site_packages / name)
    return [str(unpacked), str(numpy_alone)]


@pytest.fixture(scope="module")
def console_scripts(wheel: Path) -> dict[str, str]:
    """Each command's ``module:function``, as the wheel declares it."""
    parser = configparser.ConfigParser()
    parser.read_string(_metadata_file(wheel, "entry_points.txt"))
    return dict(parser["console_scripts"])


def _metadata_file(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (entry for entry in archive.namelist() if entry.endswith(f".dist-info/{name}"))
        return archive.read(path).decode()


def _run_bare(bare_path: list[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a Python without site-packages, with ``bare_path`` in front of the library."""
    # -I leaves out the current folder, PYTHON* variables and the user's packages; -S the site's.
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {bare_path!r}; {code}"],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_wheel_holds_every_module_of_the_tree(wheel: Path) -> None:
    in_tree = {
        f"clipedge/{path.relative_to(ROOT).as_posix()}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
    }
    in_wheel = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}
    assert in_tree == in_wheel, "name every subpackage in pyproject.toml, [tool.setuptools]"


def test_the_wheel_tells_type_checkers_that_it_is_typed(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"clipedge/{folder}/py.typed" for folder in FOLDERS} <= set(names)


def test_the_wheel_installs_nothing_outside_the_namespace(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert tops == {"clipedge", next(top for top in tops if top.endswith(".dist-info"))}


def test_the_wheel_asks_for_python_36_and_numpy_alone(wheel: Path) -> None:
    metadata = Parser().parsestr(_metadata_file(wheel, "METADATA"))
    base = [need for need in metadata.get_all("Requires-Dist", []) if "extra ==" not in need]
    assert metadata["Requires-Python"] == ">=3.6"
    assert base == ["numpy"]
    assert wheel.name.endswith("-py3-none-any.whl")


def test_the_wheel_declares_the_five_commands(console_scripts: dict[str, str]) -> None:
    assert set(console_scripts) == set(COMMANDS)


def test_every_package_that_make_setup_asks_for_is_pinned() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    extras = text.split("[project.optional-dependencies]")[1].split("\n[")[0]
    asked = {re.split(r"[;=<> ]", need)[0] for need in re.findall(r'"([a-z][^"]*)"', extras)}
    pins = (ROOT / "constraints.txt").read_text()
    pinned = set(re.findall(r"^([A-Za-z0-9_.-]+)==", pins, re.MULTILINE))
    assert asked and asked <= pinned


@pytest.mark.parametrize("name", ["jetson", "export", "benchmarks", "trainside"])
def test_a_bare_folder_name_is_not_importable(bare_path: list[str], name: str) -> None:
    # A board may have a package called jetson of its own; the wheel must leave the name alone.
    found = _run_bare(
        bare_path, f"from importlib.util import find_spec; print(find_spec({name!r}))"
    )
    assert found.stdout.strip() == "None", found.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_needs_numpy_alone_and_starts_quickly(
    bare_path: list[str], console_scripts: dict[str, str], command: str
) -> None:
    module, function = console_scripts[command].split(":")
    code = f"from {module} import {function} as main; sys.exit(main(['--help']))"
    cpu_s = []
    for _ in range(HELP_RUNS):
        before = os.times()
        answer = _run_bare(bare_path, code)
        after = os.times()
        assert answer.returncode == 0, answer.stderr
        assert command in answer.stdout
        cpu_s.append(
            after.children_user
            - before.children_user
            + after.children_system
            - before.children_system
        )
    assert statistics.median(cpu_s) < HELP_CPU_LIMIT_S, f"CPU seconds of {HELP_RUNS} runs: {cpu_s}"

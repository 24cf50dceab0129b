"""docker/: the images' install lines run here as far as they can; nothing is built or started.

The lines are read from the Dockerfiles, never repeated. What cannot run: apt-get, whatever is not
for this processor, and TensorRT's libraries, which are on NVIDIA's index alone. The heavy lines of
the workstation's image are resolved, not installed.
"""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILES = ("jetson.Dockerfile", "train.Dockerfile")
PARSERS = {
    "train-clips": "clipedge.trainside.cli",
    "export-engine": "clipedge.export.cli",
    "jetson-bench": "clipedge.benchmarks.cli",
    "gesture-demo": "clipedge.jetson.cli",
}
# A package this machine has no compiler's headers for (CUDA) or no wheel of.
NOT_HERE = ("pycuda", "tensorrt-cu13", "tensorrt-cu13-libs")
# 1.19.5 dies on a TX2.
BOARD_NUMPY = "1.19.4"


class Step(NamedTuple):
    """One instruction of a Dockerfile, its continued lines joined."""

    keyword: str
    text: str


class Stage(NamedTuple):
    """What lies between two FROM."""

    base: str
    name: str
    steps: list[Step]


@cache
def _stages(dockerfile: str) -> list[Stage]:
    text = (ROOT / "docker" / dockerfile).read_text()
    text = re.sub(r"(?m)^\s*#.*\n", "", text)
    stages: list[Stage] = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if not line.strip():
            continue
        keyword, rest = line.split(None, 1)
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            stages.append(Stage(base, name, []))
        else:
            stages[-1].steps.append(Step(keyword, rest))
    return stages


def _copied_from_tree(stage: Stage) -> Iterator[tuple[str, str]]:
    """Yield source in the repository and destination of each file or folder copied."""
    for step in stage.steps:
        if step.keyword == "COPY" and not step.text.startswith("--from="):
            *sources, destination = step.text.split()
            for source in sources:
                yield source, destination


def _pins(path: Path) -> dict[str, str]:
    """Return version by package, of the lines that hold for the running Python."""
    lines = (line.partition("#")[0].partition(";") for line in path.read_text().splitlines())
    mine = f"{sys.version_info.major}.{sys.version_info.minor}"
    held = [pin for pin, _, marker in lines if '"3.10"' not in marker or mine == "3.10"]
    held += [pin for pin, _, marker in lines if ">=" in marker and mine != "3.10"]
    return {name.lower(): version.strip() for name, _, version in (p.partition("==") for p in held)}


def _compose() -> dict[str, Any]:
    yaml = importlib.import_module("ruamel.yaml").YAML(typ="safe")
    loaded: dict[str, Any] = yaml.load((ROOT / "docker/compose.yaml").read_text())
    return loaded


# --- What can be read off the files -------------------------------------------------------------


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_every_copied_file_exists_and_reaches_the_builder(dockerfile: str) -> None:
    let_in = [
        line[2:].rstrip("/")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!/")
    ]
    for stage in _stages(dockerfile):
        for source, _ in _copied_from_tree(stage):
            assert (ROOT / source).exists(), source
            assert source.rstrip("/") in let_in, f"{source} is not let in by .dockerignore"


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_the_image_does_not_run_as_root(dockerfile: str) -> None:
    users = [step.text for step in _stages(dockerfile)[-1].steps if step.keyword == "USER"]
    assert users and users[-1] not in ("0", "root")


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_no_compiler_and_no_source_is_left_in_the_image(dockerfile: str) -> None:
    last = _stages(dockerfile)[-1]
    installed = " ".join(step.text for step in last.steps if step.keyword == "RUN")
    assert not re.search(r"build-essential|g\+\+|python3-dev|\bpip\b", installed)
    assert list(_copied_from_tree(last)) == []


def test_the_board_gets_the_versions_that_its_code_is_tested_with() -> None:
    image = _pins(ROOT / "docker/requirements-board.txt")
    tested = _pins(ROOT / "constraints-board.txt")
    shared = image.keys() & tested.keys()
    assert {"numpy", "onnxruntime", "protobuf"} <= shared
    assert {name: image[name] for name in shared} == {name: tested[name] for name in shared}
    assert image["numpy"] == BOARD_NUMPY


def test_the_workstation_gets_the_versions_that_its_code_is_tested_with() -> None:
    image = _pins(ROOT / "docker/requirements-train.txt")
    tested = _pins(ROOT / "constraints.txt")
    assert {name: image[name] for name in image.keys() & tested.keys()} == {
        name: tested[name] for name in image.keys() & tested.keys()
    }


@pytest.mark.parametrize("name", ["requirements-board.txt", "requirements-train.txt"])
def test_every_requirement_of_an_image_is_pinned(name: str) -> None:
    lines = (ROOT / "docker" / name).read_text().splitlines()
    loose = [
        line for line in lines if line and line[0] != "#" and not re.search(r"==[\d.]+$", line)
    ]
    assert not loose


def test_services_have_no_rights_and_no_network_that_they_do_not_need() -> None:
    services = _compose()["services"]
    assert set(services) == {"demo", "benchmark", "training"}
    for name, service in services.items():
        assert service["network_mode"] == "none", name
        assert service["cap_drop"] == ["ALL"], name
        assert not service["user"].startswith(("0", "root")), name
        assert "privileged" not in service, name


def test_services_build_from_the_dockerfiles_and_carry_the_version_of_the_wheel() -> None:
    match = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert match is not None
    for service in _compose()["services"].values():
        folder = (ROOT / "docker" / service["build"]["context"]).resolve()
        assert folder == ROOT
        assert (folder / service["build"]["dockerfile"]).is_file()
        assert service["image"].endswith(f":{match.group(1)}")


@pytest.mark.parametrize("name", ["demo", "benchmark", "training"])
def test_a_service_runs_a_command_that_our_parsers_take(name: str) -> None:
    words = [re.sub(r"\$\{\w+:-(.*?)\}", r"\1", w) for w in _compose()["services"][name]["command"]]
    parser = importlib.import_module(PARSERS[words[0]]).build_parser()
    parser.parse_args(words[1:])


# --- The install lines, run ---------------------------------------------------------------------


class Box:
    """A folder that stands for the file system of a stage, and its shell."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        (folder / "src").mkdir(parents=True)
        (folder / "shim").mkdir()
        (folder / "shim/python3").symlink_to(python)

    def copy(self, stage: Stage) -> None:
        """Do what the stage's COPY lines from the repository do, WORKDIR being /src."""
        for source, destination in _copied_from_tree(stage):
            target = self.folder / "src" / destination
            if (ROOT / source).is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / source, target, ignore=ignore)
            else:
                shutil.copy(ROOT / source, target)

    def run(self, command: str) -> str:
        """Run a line of the Dockerfile with /opt, /dist and python3 taken from this box."""
        moved = re.sub(r"(?<![\w.])/(opt|dist)\b", rf"{self.folder}/\1", command)
        moved = moved.replace("--no-cache-dir", "")  # keeps an image small, a test slow
        environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_RETRIES": "1"}
        for name in ("PYTHONPATH", "VIRTUAL_ENV", "PIP_NO_INDEX"):
            environment.pop(name, None)
        environment["PATH"] = os.pathsep.join(
            [str(self.folder / "opt/clipedge/bin"), str(self.folder / "shim"), "/usr/bin:/bin"]
        )
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", moved],
            cwd=self.folder / "src",
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{command}\n{(done.stdout + done.stderr)[-3000:]}"
        return done.stdout


def _pip_lines(stage: Stage) -> list[str]:
    runs = [step.text for step in stage.steps if step.keyword == "RUN"]
    lines = [text for text in runs if "apt-get" not in text]
    assert lines, "no install line found: has the Dockerfile changed its form?"
    return lines


def _python36() -> str:
    homes = sorted(Path.home().glob(".pyenv/versions/3.6*/bin/python"))
    for name in filter(None, [os.environ.get("PYTHON36"), "python3.6", *map(str, homes)]):
        path = shutil.which(name)
        asked = [path or "", "-c", "import sys, venv, ensurepip; print(sys.version_info[:2])"]
        if path and "(3, 6)" in subprocess.run(asked, capture_output=True, text=True).stdout:
            return path
    pytest.skip("no CPython 3.6 found; install one with pyenv or set PYTHON36")


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"]
    command += ["--retries", "0", "--timeout", "20", "--dest", str(tmp_path_factory.mktemp("net"))]
    asked = subprocess.run([*command, "six==1.17.0"], capture_output=True, text=True)
    if asked.returncode:
        pytest.skip(f"pip reaches no package index: {asked.stderr.strip().splitlines()[-1]}")


def _keep_out(requirements: Path, names: tuple[str, ...]) -> None:
    kept = [
        line
        for line in requirements.read_text().splitlines()
        if line.partition("==")[0].lower() not in names
    ]
    requirements.write_text("\n".join(kept) + "\n")


def _wheel(box: Box) -> Path:
    (wheel,) = (box.folder / "dist").glob("*.whl")
    return wheel


@pytest.mark.usefixtures("online")
def test_the_boards_install_lines_work_on_python_36(tmp_path: Path) -> None:
    python36 = _python36()
    wheel_stage, packages_stage = _stages("jetson.Dockerfile")[:2]
    # The lines of the stage that makes the wheel install into their Python: one with pip alone.
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "python")], check=True)
    builder = Box(tmp_path / "builder", str(tmp_path / "python/bin/python3"))
    builder.copy(wheel_stage)
    for line in _pip_lines(wheel_stage):
        builder.run(line)

    board = Box(tmp_path / "board", python36)
    board.copy(packages_stage)
    (board.folder / "dist").mkdir()
    shutil.copy(_wheel(builder), board.folder / "dist")
    _keep_out(board.folder / "src/requirements-board.txt", NOT_HERE)
    for line in _pip_lines(packages_stage):
        board.run(line)

    board.run("python3 -m pip check")
    found = board.run("python3 -c 'import numpy, onnxruntime, six; print(numpy.__version__)'")
    assert found.strip() == BOARD_NUMPY
    for command in ("export-engine", "jetson-bench", "gesture-demo"):
        assert command in board.run(f"{command} --help")


@pytest.mark.usefixtures("online")
def test_the_boards_packages_have_wheels_for_its_processor(tmp_path: Path) -> None:
    wanted = tmp_path / "requirements-board.txt"
    shutil.copy(ROOT / "docker/requirements-board.txt", wanted)
    _keep_out(wanted, ("pycuda", "pytools"))  # built on the board, as the file says
    board = "--platform manylinux2014_aarch64 --implementation cp --python-version 36 --abi cp36m"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *board.split()]
    command += ["--only-binary", ":all:", "--dest", str(tmp_path), "--requirement", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.usefixtures("online")
def test_the_workstations_install_lines_resolve(tmp_path: Path) -> None:
    stage = _stages("train.Dockerfile")[0]
    box = Box(tmp_path / "box", getattr(sys, "_base_executable", sys.executable))
    box.copy(stage)
    wanted = box.folder / "src/requirements-train.txt"
    pins = _pins(wanted)
    _keep_out(wanted, NOT_HERE)
    for line in _pip_lines(stage):
        # NVIDIA's index may be out of reach; what PyPI has of TensorRT is checked here.
        line = line.replace("--extra-index-url https://pypi.nvidia.com", "")
        heavy = "/opt/clipedge/bin/python -m pip install"
        line = line.replace(heavy, heavy + " --dry-run")
        box.run(line)
    assert _wheel(box).name.endswith("-py3-none-any.whl")
    for name in NOT_HERE:
        served = box.run(f"python3 -m pip index versions {shlex.quote(name)}")
        assert re.search(rf"[ ,(]{re.escape(pins[name])}[,)\s]", served), f"{name}: {served}"

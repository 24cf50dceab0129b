"""Fixtures of all tests. This file runs on the board's Python 3.6 too."""

import os
import pathlib
import runpy
import sys

import pytest

# Tests import the package stand_ins by this name; no folder of tests has to be on the path for it.
runpy.run_path(str(pathlib.Path(__file__).resolve().parent / "stand_ins" / "launch.py"))[
    "load_stand_ins"
]()


def _shared_folder():
    """The folder of reference files and real videos: not a part of the project."""
    root = pathlib.Path(__file__).resolve().parent.parent
    return pathlib.Path(os.environ.get("CLIPEDGE_SHARED", str(root.parent / "shared")))


@pytest.fixture(scope="session")
def shared():
    folder = _shared_folder()
    if not folder.is_dir():
        pytest.skip(f"no reference files at {folder}; set CLIPEDGE_SHARED")
    return folder


@pytest.fixture(scope="session")
def command():
    """Path of a console script that is installed beside the running Python."""

    def path(name):
        return str(pathlib.Path(sys.executable).parent / name)

    return path

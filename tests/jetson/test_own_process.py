"""A module of ours that runs in a process of its own is blind to the user's folder."""

import subprocess

from clipedge.jetson.own_process import module_command


def test_a_file_named_like_a_library_in_the_working_folder_is_not_imported(tmp_path):
    for name in ("random", "json", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong file')")
    command = [*module_command("clipedge.benchmarks.cli"), "--help"]
    output = subprocess.check_output(command, cwd=str(tmp_path), universal_newlines=True)
    assert output.startswith("usage: jetson-bench")

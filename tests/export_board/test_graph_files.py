"""Graph forms on a board: rewritten where the onnx package is, else taken from the file beside."""

import hashlib
import logging

import pytest

from clipedge.export.graph_files import form_path, graphs_to_build
from clipedge.export.graph_forms import rewrite
from clipedge.export.graph_names import CONV3D, FORMS, SOURCE_KEY
from clipedge.jetson.engine_manifest import load_manifest
from clipedge.jetson.errors import BackendError, ModelFileError, UsageError
from clipedge.jetson.runners import open_runner

OTHERS = FORMS[1:]


def write_beside(onnx_path, form):
    """Write a form as export-engine does on a workstation."""
    onnx = pytest.importorskip("onnx", reason="onnx, which rewrites the test model, is missing")
    trained = onnx_path.read_bytes()
    model = onnx.load_from_string(rewrite(trained, form))
    entry = model.metadata_props.add()
    entry.key, entry.value = SOURCE_KEY, hashlib.sha256(trained).hexdigest()
    path = form_path(onnx_path, form)
    path.write_bytes(model.SerializeToString())
    return path


def forms(graphs):
    return [graph.form for graph in graphs]


def test_auto_rewrites_every_form(tiny):
    graphs = graphs_to_build(tiny, "auto")
    assert forms(graphs) == list(FORMS)
    assert graphs[0].onnx == tiny.read_bytes()
    assert len({graph.onnx for graph in graphs}) == len(FORMS)


@pytest.mark.parametrize("form", FORMS)
def test_a_form_asked_for_comes_alone(tiny, form):
    assert forms(graphs_to_build(tiny, form)) == [form]


@pytest.mark.parametrize("form", OTHERS)
def test_without_the_onnx_package_the_file_beside_is_used(tiny, without, form):
    beside = write_beside(tiny, form)
    without("onnx")
    (graph,) = graphs_to_build(tiny, form)
    assert graph.onnx == beside.read_bytes()


def test_without_the_onnx_package_and_the_file_beside_a_form_is_refused(tiny, without):
    without("onnx")
    with pytest.raises(BackendError, match=r"tiny_conv2d\.onnx does not lie beside it"):
        graphs_to_build(tiny, "conv2d")


@pytest.mark.parametrize("how", ["another source", "no source"])
def test_a_file_beside_that_was_made_from_another_is_refused(tiny, without, how):
    beside = write_beside(tiny, "conv2d")
    if how == "another source":
        tiny.write_bytes(tiny.read_bytes() + b"\xfa\x3f\x00")  # a field that nobody reads
    else:
        beside.write_bytes(rewrite(tiny.read_bytes(), "conv2d"))
    without("onnx")
    with pytest.raises(ModelFileError, match=r"tiny_conv2d.onnx was not made from this tiny.onnx"):
        graphs_to_build(tiny, "conv2d")


def test_auto_does_without_what_cannot_be_had_and_says_so(tiny, without, caplog):
    without("onnx")
    with caplog.at_level(logging.WARNING):
        assert forms(graphs_to_build(tiny, "auto")) == [CONV3D]
    for form in OTHERS:
        assert f"--graph auto does without {form}" in caplog.text


def test_a_rewritten_file_is_built_as_it_is(tiny):
    beside = write_beside(tiny, "conv2d")
    for graph in ("auto", "conv2d"):
        assert graphs_to_build(beside, graph) == [("conv2d", beside.read_bytes())]
    with pytest.raises(UsageError, match="is of the form conv2d already"):
        graphs_to_build(beside, "conv3d")


def test_a_form_nobody_knows_is_a_wrong_call(tiny):
    with pytest.raises(UsageError, match="There is no graph form 'conv4d'"):
        graphs_to_build(tiny, "conv4d")


def test_a_board_without_the_onnx_package_builds_what_was_copied_to_it(
    tx2, tiny, without, export_engine
):
    for form in OTHERS:
        write_beside(tiny, form)
    without("onnx")
    done = export_engine("--onnx", tiny, "--graph", "auto", "--batch", "2")
    assert done.status == 0, done.err
    for precision in ("fp32", "fp16"):
        path = tiny.with_name(f"tiny_{precision}.engine")
        assert forms_tried(path) == ["conv3d", "conv2d"]
        open_runner(path).close()


def test_a_form_that_is_copied_later_is_tried_too(tx2, tiny, without, export_engine):
    """The warning that it is not there says to copy it, and the same command again shall use it."""
    write_beside(tiny, "conv2d")
    copied = form_path(tiny, "conv2d")
    content = copied.read_bytes()
    copied.unlink()
    without("onnx")
    build = ("--onnx", tiny, "--precision", "fp32", "--batch", "2")
    assert export_engine(*build).status == 0
    assert forms_tried(tiny.with_name("tiny_fp32.engine")) == ["conv3d"]
    copied.write_bytes(content)
    done = export_engine(*build)
    assert "conv2d was not here to be tried" in done.err
    assert forms_tried(tiny.with_name("tiny_fp32.engine")) == ["conv3d", "conv2d"]
    assert "up to date" in export_engine(*build).err


def forms_tried(path):
    return [one["graph_form"] for one in load_manifest(path).candidates]

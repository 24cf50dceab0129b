import os

import pytest
import torch

from clipedge.jetson.spec import ACTIVITYNET_MEAN, ClipSpec
from clipedge.trainside import cli
from clipedge.trainside.checkpoint import load_checkpoint, save_checkpoint
from clipedge.trainside.data.labels import JESTER_LABELS, dataset_labels
from clipedge.trainside.models import create_model


@pytest.fixture
def released(tmp_path, monkeypatch):
    """Write a file as the paper's code does; the current folder is its own."""
    monkeypatch.chdir(tmp_path)

    def write(name="mobilenetv2", width=0.2, num_classes=27, bare=False, prefix="module."):
        model = create_model(name, width, num_classes)
        state = {prefix + key: tensor for key, tensor in model.state_dict().items()}
        whole = {
            "epoch": 60,
            "arch": name,
            "state_dict": state,
            "optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]},
            "best_prec1": torch.tensor(93.34),
        }
        path = tmp_path / "released.pth"
        # Files of PyTorch before 1.6, as the released ones, are not zip archives.
        torch.save(state if bare else whole, path, _use_new_zipfile_serialization=False)
        return path

    return write


def imported(arguments, capsys):
    status = cli.main(["import", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def refused(arguments, capsys, status):
    try:
        got, out, err = imported(arguments, capsys)
    except SystemExit as stop:  # argparse's own
        printed = capsys.readouterr()
        got, out, err = stop.code, printed.out, printed.err
    assert got == status
    assert len(err.splitlines()) <= 2
    assert out == ""
    return err


@pytest.mark.parametrize(
    ("dataset", "num_classes", "stride", "rate", "order"),
    [
        ("jester", 27, 2, 12.0, "RGB"),
        ("ucf101", 101, 1, 25.0, "RGB"),
        ("kinetics600", 600, 1, 30.0, "BGR"),
    ],
)
def test_each_data_set_has_its_recipe(
    dataset, num_classes, stride, rate, order, released, tmp_path, capsys
):
    path = released(num_classes=num_classes)
    output = tmp_path / "new folder" / "model.pt"
    call = [path, "--model", "mobilenetv2", "--width", 0.2, "--dataset", dataset]
    status, out, _ = imported([*call, "--output", output], capsys)
    assert status == 0
    assert f"export-engine --checkpoint '{output}'" in out
    model, spec, extra = load_checkpoint(output)
    assert (spec.stride_frames, spec.frame_rate_hz, spec.channel_order) == (stride, rate, order)
    assert (spec.mean, spec.std) == (ACTIVITYNET_MEAN, (1.0, 1.0, 1.0))
    assert (spec.model, spec.width, spec.dataset) == ("mobilenetv2", 0.2, dataset)
    assert (spec.frames, spec.size) == (16, 112)
    assert list(spec.labels) == (
        dataset_labels(dataset) or [f"class {index}" for index in range(600)]
    )
    assert extra == {"imported_from": "released.pth"}
    first = torch.load(path, weights_only=True)["state_dict"]["module.features.0.0.weight"]
    assert torch.equal(model.state_dict()["features.0.0.weight"], first)


def test_model_width_and_place_are_found_without_being_told(released, tmp_path, capsys):
    path = released("squeezenet", None, bare=True, prefix="")
    status, out, _ = imported([path, "--dataset", "jester"], capsys)
    assert status == 0
    assert "squeezenet" in out
    assert (tmp_path / "checkpoints" / "squeezenet_jester.pt").is_file()


def test_the_channel_order_can_be_overridden(released, tmp_path, capsys):
    call = [released(), "--dataset", "jester", "--channel-order", "BGR", "--output", "x.pt"]
    assert imported(call, capsys)[0] == 0
    assert load_checkpoint(tmp_path / "x.pt").spec.channel_order == "BGR"


def test_labels_come_from_a_file(released, tmp_path, capsys):
    labels = tmp_path / "labels.txt"
    labels.write_text("\ufeffWinken\nWischen \nDaumen hoch\n\n", encoding="utf-8")
    call = [released(num_classes=3), "--dataset", "jester", "--labels", labels]
    assert imported([*call, "--output", "x.pt"], capsys)[0] == 0
    assert load_checkpoint(tmp_path / "x.pt").spec.labels == ("Winken", "Wischen", "Daumen hoch")


def test_classes_that_do_not_fit_the_data_set_are_numbered_and_said(released, tmp_path, capsys):
    status, out, _ = imported(
        [released(num_classes=3), "--dataset", "jester", "--output", "x.pt"], capsys
    )
    assert status == 0
    assert "3, numbered" in out
    assert load_checkpoint(tmp_path / "x.pt").spec.labels == ("class 0", "class 1", "class 2")


def test_the_label_lists_are_whole():
    assert len(JESTER_LABELS) == len(set(JESTER_LABELS)) == 27
    assert list(JESTER_LABELS) == sorted(JESTER_LABELS)
    ucf101 = dataset_labels("ucf101")
    assert len(ucf101) == len(set(ucf101)) == 101
    assert (ucf101[0], ucf101[35], ucf101[-1]) == ("ApplyEyeMakeup", "HammerThrow", "YoYo")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one\ntwo\n", "has 2 labels; the weights have 3 classes"),
        ("one\ntwo\none\n", "line 3 repeats 'one'"),
        ("one\n\nthree\n", "line 2 is empty"),
        (None, "there is no such file"),
    ],
)
def test_a_label_file_that_does_not_fit_exits_2(text, said, released, tmp_path, capsys):
    labels = tmp_path / "labels.txt"
    if text is not None:
        labels.write_text(text)
    call = [released(num_classes=3), "--dataset", "jester", "--labels", labels]
    assert said in refused(call, capsys, 2)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--dataset", "jestr"], 2, "did you mean jester"),
        (["--dataset", "jester", "--model", "mobilnetv2"], 2, "did you mean mobilenetv"),
        (["--dataset", "jester", "--model", "mobilenetv2", "--width", "2"], 2, "nearest"),
        (["--dataset", "jester", "--channel-order", "GBR"], 2, "GBR"),
        ([], 2, "--dataset"),
        (["--dataset", "jester", "--model", "squeezenet"], 1, "They fit mobilenetv2 0.2x"),
        (["--dataset", "jester", "--width", "1.0"], 1, "They fit mobilenetv2 0.2x"),
        (["--dataset", "jester", "--output", "/proc/none/x.pt"], 1, "/proc/none"),
    ],
)
def test_a_wrong_call_says_so_in_two_lines_and_leaves_nothing(
    options, status, said, released, tmp_path, capsys
):
    assert said in refused([released(), *options], capsys, status)
    assert [path.name for path in tmp_path.iterdir()] == ["released.pth"]


class RunsCode:
    def __reduce__(self):
        return (os.system, ("exit 1",))


def test_bad_files_say_so_in_two_lines_and_leave_nothing(released, tmp_path, capsys):
    path = released()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    call = [path, "--dataset", "jester"]
    assert "damaged or truncated" in refused(call, capsys, 1)
    path.write_text("hello")
    assert "not a checkpoint" in refused(call, capsys, 1)
    torch.save({"epoch": 3, "state_dict": RunsCode()}, path)
    assert f"{os.system.__module__}.system" in refused(call, capsys, 1)
    torch.save({"epoch": 3}, path)
    assert "has no state dict" in refused(call, capsys, 1)
    path.unlink()
    assert "there is no such file" in refused(call, capsys, 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "moment", ["torch.load", "torch.nn.init.normal_", "torch.save", "os.fsync"]
)
def test_an_interrupt_at_any_moment_leaves_no_file(moment, released, tmp_path, capsys, monkeypatch):
    path = released()

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(moment, interrupt)
    said = refused([path, "--dataset", "jester"], capsys, 1)
    assert said == "train-clips: interrupted; no file is left half-written.\n"
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]


def test_a_checkpoint_of_ours_is_not_imported_as_released(tmp_path, capsys):
    model = create_model("shufflenetv2", 0.25, num_classes=27).eval()
    spec = ClipSpec("shufflenetv2", tuple(JESTER_LABELS), 0.25, dataset="synthetic", size=48)
    save_checkpoint(tmp_path / "own.pt", model, spec)
    call = ["import", str(tmp_path / "own.pt"), "--dataset", "jester"]
    assert cli.main([*call, "--output", str(tmp_path / "out.pt")]) == 1
    assert "is a clipedge checkpoint already" in capsys.readouterr().err
    assert not (tmp_path / "out.pt").exists()

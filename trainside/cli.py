"""train-clips: train, evaluate, compare with the paper, import released weights."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from clipedge.jetson.command_line import (
    WRONG_CALL,
    CommandParser,
    natural,
    natural_float,
    positive_float,
    positive_int,
    probability,
    run_command,
)

# Each module has run(arguments) -> exit status and is imported only when its command runs.
COMMANDS = {
    "fit": "clipedge.trainside.fit",
    "evaluate": "clipedge.trainside.evaluate",
    "summary": "clipedge.trainside.summary",
    "import": "clipedge.trainside.import_weights",
}


def build_parser() -> CommandParser:
    """Return the parser; torch is imported only once a command runs."""
    parser = CommandParser(
        prog="train-clips",
        description="Train and evaluate 3D CNNs for video gesture recognition.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_fit(commands.add_parser("fit", help="train a model"))
    _add_evaluate(commands.add_parser("evaluate", help="measure accuracy"))
    _add_summary(commands.add_parser("summary", help="models beside the paper's tables"))
    _add_import(commands.add_parser("import", help="released weights -> checkpoint"))
    return parser


def _add_model(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument("--model", required=required, help="architecture: see train-clips summary")
    parser.add_argument("--width", type=positive_float, help="width multiplier, such as 2.0")


def _add_data(parser: argparse.ArgumentParser, default: "str | None") -> None:
    add = parser.add_argument_group("data").add_argument
    add(
        "--data",
        default=default,
        metavar="DIR",
        help="a data set as it is unpacked, a folder DIR/CLASS/VIDEO, or 'synthetic': generated "
        "gestures, which is what is taken without it",
    )
    layouts = ("auto", "jester", "ucf101", "kinetics600", "folder")
    add("--layout", choices=layouts, default=_or_none(default, "auto"), help="of DIR")
    add("--annotations", metavar="DIR", help="folder of the CSV or list files, if not in --data")
    add("--split", type=positive_int, default=_or_none(default, 1), help="of UCF-101: 1, 2 or 3")


def _or_none(given: object, value: object) -> object:
    """Leave defaults out where ``fit`` has to know what was given."""
    return None if given is None else value


def _add_fit(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "%(prog)s --model NAME [--width WIDTH] [--data DIR] [--recipe NAME] [options]\n"
        "       %(prog)s --init-from FILE [--data DIR] [options]\n"
        "       %(prog)s --resume FOLDER"
    )
    _add_model(parser, required=False)
    add = parser.add_argument
    add("--output", metavar="CKPT", help="checkpoint to write, else checkpoints/MODEL_DATA.pt")
    add(
        "--resume",
        metavar="FOLDER",
        help="go on with a training that was interrupted, from its CKPT.training folder",
    )
    _add_data(parser, None)
    add = parser.add_argument_group("the clip").add_argument
    add("--size", type=positive_int, help="height and width, pixels, else the model's own")
    add("--frames", type=positive_int, help="length, else the model's own")
    add("--stride", type=positive_int, help="frames from one of a clip to the next, else 2")
    add("--frame-rate", type=positive_float, help="that --stride counts in, Hz, else 12")
    add("--clips", type=positive_int, help="of the generated training set, else 4050")
    _add_recipe(parser)
    _add_machine(parser)


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "the recipe", "Each flag changes one value of the recipe; docs/training.md has them all."
    )
    add = group.add_argument
    names = ("quick", "paper-jester", "paper-kinetics600", "paper-ucf101-finetune")
    add("--recipe", choices=names, help="the paper's, section 3.2, or quick, the default")
    add("--init-from", metavar="FILE", help="start from a checkpoint, own or released")
    add("--freeze", choices=("none", "backbone"), help="backbone: train the last layer alone")
    add("--dropout", type=probability, help="before the last layer")
    add("--epochs", type=positive_int, help="at most")
    add("--minutes", type=positive_float, help="of a one-cycle schedule, at most")
    add("--epoch-clips", type=natural, help="that an epoch has at least")
    add("--batch", type=positive_int, help="clips a step, over all devices")
    add("--optimizer", choices=("sgd", "adamw"))
    add("--learning-rate", type=positive_float, help="the first; of one-cycle the highest")
    add("--momentum", type=probability)
    add("--dampening", type=probability)
    add("--weight-decay", type=probability)
    add("--schedule", choices=("one-cycle", "plateau", "steps"), help="of the learning rate")
    add("--milestones", type=positive_int, nargs="+", help="epochs after which steps divide it")
    add("--patience", type=positive_int, help="epochs that plateau waits for")
    add("--stop-after", type=natural, help="epochs without a lower validation loss; 0: never")
    add("--scales", type=positive_float, nargs="+", help="of the square cut out of a frame")
    add("--crop", choices=("random", "corner", "center"), help="where it is cut out")
    add("--flip", choices=("auto", "none", "same", "swap"), help="mirrored clips; see docs")
    add("--colour", action=argparse.BooleanOptionalAction, help="vary colours")
    add("--head-start", action=argparse.BooleanOptionalAction, help="learn motion first")
    add("--validation-clips", type=natural, help="of each video, after each epoch; 0: all")
    add("--seed", type=int, help="of weights, order and clips; 0 where it is not given")


def _add_machine(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("the machine").add_argument
    add("--devices", type=positive_int, help="GPUs, or processes on a CPU, else what there is")
    add("--nodes", type=positive_int, help="machines; start the command on each, see docs")
    add("--precision", choices=("fp32", "fp16", "bf16"), help="else bf16 or fp16 on a GPU")
    add("--accumulate", type=positive_int, help="parts of a batch that a device takes in turn")
    add("--workers", type=natural, help="processes that prepare clips, for each device")
    add("--threads", type=positive_int, help="of each process, on a CPU")
    add("--cache-gb", type=natural_float, help="for decoded frames, else what is free")
    add("--save-minutes", type=positive_float, help="between two saves within an epoch, else 10")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "%(prog)s (--checkpoint FILE | --onnx FILE | --engine FILE) [--data DIR] [options]"
    )
    files = parser.add_mutually_exclusive_group(required=True)
    files.add_argument("--checkpoint", metavar="FILE", help="of train-clips fit or import")
    files.add_argument("--onnx", metavar="FILE", help="of export-engine, with its .spec.json")
    files.add_argument("--engine", metavar="FILE", help="of export-engine, on the GPU it is for")
    _add_data(parser, "synthetic")
    parser.add_argument(
        "--part",
        choices=("auto", "all", "training", "validation"),
        default="auto",
        help="of the data; auto: validation where the model was trained on it, else all",
    )
    add = parser.add_argument
    add("--clips", type=positive_int, default=540, help="of the generated validation set")
    add("--seed", type=int, default=0, help="of the generated clips")
    add("--batch", type=positive_int, default=32, help="clips scored at a time")
    add("--backend", default="auto", help="of an ONNX file: onnxruntime or openvino")
    add("--workers", type=natural, default=1, help="processes that read videos")
    add("--threads", type=positive_int, help="cores for the model")
    add("--confusion", metavar="FILE.png", help="draw what is taken for what")
    add("--json", action="store_true", help="print JSON")


def _add_summary(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s [--all | --model NAME [--width WIDTH]] [--classes N]"
    _add_model(parser, required=False)
    parser.add_argument(
        "--all", action="store_true", help="the paper's rows and the widths it has no row for"
    )
    parser.add_argument("--classes", type=positive_int, default=600, help="size of the head")


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.usage = "%(prog)s FILE --dataset NAME [--model NAME] [--width WIDTH] [options]"
    parser.add_argument("file", metavar="FILE", help="a checkpoint of the paper's released code")
    _add_model(parser, required=False)
    parser.add_argument(
        "--dataset", required=True, metavar="NAME", help="jester, ucf101 or kinetics600"
    )
    parser.add_argument(
        "--output", metavar="CKPT", help="checkpoint to write, else checkpoints/MODEL_DATASET.pt"
    )
    parser.add_argument(
        "--labels", metavar="FILE", help="one label a line, else the data set's where they fit"
    )
    parser.add_argument(
        "--channel-order",
        choices=("RGB", "BGR"),
        help="that the weights expect, else BGR for kinetics600 and RGB for the others",
    )


def _dispatch(arguments: argparse.Namespace) -> int:
    module = importlib.import_module(COMMANDS[arguments.command])
    status: int = module.run(arguments)
    return status


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run the command; return its exit status."""
    if sys.version_info < (3, 10):  # noqa: UP036  the wheel is the board's too
        here = ".".join(str(part) for part in sys.version_info[:2])
        sys.stderr.write(
            f"train-clips: needs Python 3.10 or newer, a workstation's; {here} is too old.\n"
        )
        return WRONG_CALL
    return run_command(build_parser, _dispatch, argv)


if __name__ == "__main__":
    sys.exit(main())

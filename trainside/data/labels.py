"""Class names: of the data sets the released weights learned from, and from a user's file."""

import pathlib

from clipedge.jetson.errors import ClipedgeError, UsageError
from clipedge.jetson.files import PathLike, readable_os_error

# 20BN-Jester, alphabetical: the order of the released weights' logits.
JESTER_LABELS = (
    "Doing other things",
    "Drumming Fingers",
    "No gesture",
    "Pulling Hand In",
    "Pulling Two Fingers In",
    "Pushing Hand Away",
    "Pushing Two Fingers Away",
    "Rolling Hand Backward",
    "Rolling Hand Forward",
    "Shaking Hand",
    "Sliding Two Fingers Down",
    "Sliding Two Fingers Left",
    "Sliding Two Fingers Right",
    "Sliding Two Fingers Up",
    "Stop Sign",
    "Swiping Down",
    "Swiping Left",
    "Swiping Right",
    "Swiping Up",
    "Thumb Down",
    "Thumb Up",
    "Turning Hand Clockwise",
    "Turning Hand Counterclockwise",
    "Zooming In With Full Hand",
    "Zooming In With Two Fingers",
    "Zooming Out With Full Hand",
    "Zooming Out With Two Fingers",
)

# UCF-101's, one a line, in the order of its classInd.txt and of the released weights' logits.
_UCF101_FILE = "ucf101_labels.txt"


def dataset_labels(dataset: str) -> list[str] | None:
    """Return a data set's class names in the released weights' order; None where unknown.

    Kinetics-600's order is that of a training list which was not released with the weights.
    """
    if dataset == "jester":
        return list(JESTER_LABELS)
    if dataset == "ucf101":
        return _lines(pathlib.Path(__file__).with_name(_UCF101_FILE))
    return None


def read_labels(path: PathLike, num_classes: int) -> list[str]:
    """Read a file of one label a line; empty lines at its end do not count.

    Raises:
        UsageError: there is no such file, or it has not one distinct label a class.
        ClipedgeError: it cannot be read as UTF-8 text.
    """
    try:
        labels = _lines(pathlib.Path(path))
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise readable_os_error(error, path) from None
    except UnicodeDecodeError:
        raise ClipedgeError(f"{path} is not UTF-8 text; expected one label a line.") from None
    if len(labels) != num_classes:
        raise UsageError(
            f"{path} has {len(labels)} labels; the weights have {num_classes} classes. "
            "Give one label a line, in the order of the logits."
        )
    for number, label in enumerate(labels, start=1):
        if not label or label in labels[: number - 1]:
            problem = f"repeats '{label}'" if label else "is empty"
            raise UsageError(f"{path}: line {number} {problem}; every class needs its own label.")
    return labels


def _lines(path: pathlib.Path) -> list[str]:
    # utf-8-sig: some editors put a byte order mark first.
    text = path.read_text(encoding="utf-8-sig").rstrip()
    return [line.strip() for line in text.splitlines()]

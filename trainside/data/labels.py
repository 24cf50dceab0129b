"""Class names: where they are from, whether they can be told apart, and what a mirror swaps."""

import difflib
import pathlib
import re
import unicodedata
from collections.abc import Sequence

from clipedge.jetson.command_line import nearest
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

FLIPS = ("none", "same", "swap")

_COUNTER = "counterclockwise"
# A direction as it is compared, by the words that say it.
_DIRECTIONS = {
    "left": "left",
    "right": "right",
    "leftward": "leftward",
    "rightward": "rightward",
    "leftwards": "leftward",
    "rightwards": "rightward",
    "clockwise": "clockwise",
    "cw": "clockwise",
    _COUNTER: _COUNTER,
    "anticlockwise": _COUNTER,
    "ccw": _COUNTER,
    "acw": _COUNTER,
}
_OPPOSITES = {
    "left": "right",
    "right": "left",
    "leftward": "rightward",
    "rightward": "leftward",
    "clockwise": _COUNTER,
    _COUNTER: "clockwise",
}
_AGAINST = ("counter", "anti")  # of "counter-clockwise"

Words = tuple[str, ...]


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


def check_labels(labels: Sequence[str], place: str) -> None:
    """Raise UsageError unless these are two classes or more that nobody takes for one another.

    Names that differ in capitals, in spaces or in how accents are written are the same: some
    file systems would hold them in one folder, and no reader tells them apart.

    Args:
        labels: the names.
        place: the file or folder they are from, for the message.
    """
    seen: dict[str, str] = {}
    for label in labels:
        if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in label):
            raise UsageError(
                f"{place}: the class {label!a} has a control character in its name; rename it."
            )
        key = " ".join(unicodedata.normalize("NFC", label).casefold().split())
        if not key:
            raise UsageError(f"{place}: the class '{label}' has no name; rename it.")
        if key in seen:
            raise UsageError(
                f"{place}: the classes {_told_apart(seen[key], label)} have the same name. "
                "Rename one of them, or put their videos together."
            )
        seen[key] = label
    if len(labels) < 2:
        held = f"only the class '{labels[0]}'" if labels else "no class"
        raise UsageError(f"{place} has {held}; at least two classes are needed.")


def unknown_label(label: str, labels: Sequence[str], place: str, source: str) -> str:
    """Return the message about a label that is not among the classes.

    Args:
        label: the name that was found.
        labels: the classes.
        place: where it was found.
        source: where the classes are from.
    """
    known = labels if len(labels) <= len(JESTER_LABELS) else _alike(label, labels)
    advice = f" {nearest(label, known)}" if known else ""
    start = f"{place}: '{label}' is not one of the {len(labels)} classes of {source};"
    return start + (advice or " correct the line, or add the class there.")


def mirrored_labels(labels: Sequence[str], flip: str) -> dict[str, str] | None:
    """Return for each label that of the mirror image.

    Args:
        labels: the classes.
        flip: ``none``; ``same``: a mirror image has the same label; ``swap``: left and right,
            clockwise and counterclockwise change places. They are English words of their own,
            in capitals or not, between spaces, signs, digits or as in SwipeLeft.

    Returns:
        The label of the mirror image by label; None where clips are never mirrored.

    Raises:
        UsageError: there is no such ``flip``, or a label's partner is not among the labels.
    """
    if flip not in FLIPS:
        raise UsageError(f"'{flip}' is no way to treat mirror images; known: {', '.join(FLIPS)}.")
    if flip == "none":
        return None
    if flip == "same":
        return {label: label for label in labels}
    by_words: dict[Words, list[str]] = {}
    for label in labels:
        by_words.setdefault(_words(label), []).append(label)
    return {label: _partner(label, by_words) for label in labels}


def _partner(label: str, by_words: dict[Words, list[str]]) -> str:
    words = _words(label)
    wanted = tuple(_OPPOSITES.get(word, word) for word in words)
    if wanted == words:
        return label
    found = by_words.get(wanted, [])
    if len(found) == 1:
        return found[0]
    problem = (
        f"could be that of {' or '.join(repr(name) for name in found)}"
        if found
        else f"would be '{' '.join(wanted)}', which is no class"
    )
    raise UsageError(
        f"The mirror image of '{label}' {problem}. Do not mirror clips (--flip none), or, if the "
        "word is no direction here, let mirror images keep their label (--flip same)."
    )


def _words(label: str) -> Words:
    """Return the words of a name, in small letters, with directions as they are compared."""
    apart = re.sub(r"(?<=[^\W\d_A-Z])(?=[A-Z])", " ", label)  # SwipeLeft
    words: list[str] = []
    for word in re.findall(r"[^\W\d_]+|\d+", apart.casefold()):
        if word == "clockwise" and words and words[-1] in _AGAINST:
            words[-1] = _COUNTER
        else:
            words.append(_DIRECTIONS.get(word, word))
    return tuple(words)


def _alike(label: str, labels: Sequence[str]) -> list[str]:
    return difflib.get_close_matches(label, labels, n=2, cutoff=0.6)


def _told_apart(first: str, second: str) -> str:
    same = unicodedata.normalize("NFC", first) == unicodedata.normalize("NFC", second)
    shown = [ascii(label) if same else f"'{label}'" for label in (first, second)]
    return " and ".join(shown)


def _lines(path: pathlib.Path) -> list[str]:
    # utf-8-sig: some editors put a byte order mark first.
    text = path.read_text(encoding="utf-8-sig").rstrip()
    return [line.strip() for line in text.splitlines()]

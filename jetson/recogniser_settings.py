"""All numbers of the recogniser, and the file beside a model that holds them."""

import json
import pathlib
from types import MappingProxyType
from typing import Any, Dict, Iterable, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from clipedge.jetson.command_line import nearest
from clipedge.jetson.errors import SpecError, UsageError
from clipedge.jetson.files import PathLike, readable_os_error, write_whole

FORMAT_VERSION = 1
SETTINGS_SUFFIX = ".recogniser.json"  # beside a model: NAME.recogniser.json
FOLDER_SETTINGS = "recogniser.json"  # for all models of a folder that have none of their own

# Labels that are no gesture; Jester's two.
BACKGROUND_LABELS = ("no gesture", "doing other things")

DEFAULTS_TUNED_ON = (
    "300 generated gestures in 50 sessions with make demo's model: Levenshtein accuracy 0.90 on "
    "them, 0.87 on 216 others (python -m clipedge.benchmarks.online)"
)


class RecogniserSettings(NamedTuple):
    """What decides when a gesture is named. Times in seconds, scores from 0 to 1.

    Labels are compared without case and underscores. ``clipedge.jetson.recogniser`` says what each
    number does.
    """

    threshold: float = 0.35  # mean score that a gesture needs
    early_lead: float = 0.16  # of the best over the second, to be named before the gesture ends
    decide_s: float = 0.6  # after so long the best is named, whatever its lead
    smoothing_s: float = 0.2  # time constant of the scores
    presence_on: float = 0.7  # a gesture begins
    presence_off: float = 0.2  # and is over
    gesture_s: float = 1.28  # mean length of a gesture; EgoGesture's 38.4 frames at 30 a second
    rearm_s: float = 1.0  # least time between two events
    rearm_dip: float = 0.2  # part of its peak to which a score falls before the next event
    thresholds: Mapping[str, float] = MappingProxyType({})  # of single labels
    allow: Optional[Tuple[str, ...]] = None  # the only labels to name; None: all
    deny: Tuple[str, ...] = ()  # labels never to name
    background: Tuple[str, ...] = BACKGROUND_LABELS  # labels that are no gesture
    tuned_on: str = DEFAULTS_TUNED_ON

    def validate(self, labels: Optional[Sequence[str]] = None) -> "RecogniserSettings":
        """Return self, or raise SpecError naming the first field that makes no sense.

        Args:
            labels: of the model; where given, every label the settings name must be among them.
        """
        for name in ("threshold", "early_lead", "presence_on", "presence_off", "rearm_dip"):
            _require_number(name, getattr(self, name), 1.0)
        for name in ("decide_s", "smoothing_s", "gesture_s", "rearm_s"):
            _require_number(name, getattr(self, name), float("inf"))
        if self.presence_off > self.presence_on:
            raise SpecError(
                f"The recogniser's presence_off, {self.presence_off:g}, is above its presence_on, "
                f"{self.presence_on:g}; give it the same value or less."
            )
        if not isinstance(self.thresholds, Mapping):
            raise SpecError("The recogniser's thresholds are no object of labels and numbers.")
        for label, value in self.thresholds.items():
            _require_number(f"thresholds['{label}']", value, 1.0)
        for name in ("allow", "deny", "background"):
            _require_labels(name, getattr(self, name))
        if not isinstance(self.tuned_on, str):
            raise SpecError("The recogniser's tuned_on is no text.")
        if labels is not None:
            self._require_known(labels)
        return self

    def _require_known(self, labels: Sequence[str]) -> None:
        """The background labels may be missing: most models have other ones, or none."""
        known = _plain(labels)
        for name in ("thresholds", "allow", "deny"):
            for label in getattr(self, name) or ():
                if plain_label(label) not in known:
                    raise SpecError(
                        f"The recogniser's {name} names '{label}', which the model does not have; "
                        + _advice(label, labels)
                    )
        self._require_something_left(labels)

    def _require_something_left(self, labels: Sequence[str]) -> None:
        """The user may leave no label out that would leave none."""
        background, denied = _plain(self.background), _plain(self.deny)
        for label in self.allow or ():
            if plain_label(label) in background:
                raise SpecError(
                    f"The recogniser's allow names '{label}', which is no gesture and never named; "
                    "leave it out."
                )
        allowed = _plain(labels if self.allow is None else self.allow)
        if (self.allow is not None or self.deny) and not allowed - denied - background:
            raise SpecError(
                "The recogniser's allow and deny leave no gesture to name; allow more or deny less."
            )

    def to_dict(self) -> Dict[str, Any]:
        """Return plain JSON types, ``format_version`` first."""
        fields: Dict[str, Any] = {"format_version": FORMAT_VERSION}
        for name, value in zip(self._fields, self):
            fields[name] = dict(value) if isinstance(value, Mapping) else value
            if isinstance(value, tuple):
                fields[name] = list(value)
        return fields

    def to_json(self) -> str:
        """Return indented JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    def save(self, path: PathLike) -> None:
        """Write the JSON text to ``path``, whole or not at all."""
        write_whole(path, self.to_json())


def _advice(label: str, labels: Sequence[str]) -> str:
    """Return the end of a message on a label that the model does not have."""
    begins = plain_label(label) + " "
    longer = [one for one in labels if plain_label(one).startswith(begins)]
    if longer:
        return f"did you mean '{longer[0]}'? Put labels with spaces in quotes."
    return nearest(label, labels)


def _plain(labels: Iterable[str]) -> Set[str]:
    return {plain_label(label) for label in labels}


def plain_label(label: str) -> str:
    """Return a label as labels are compared."""
    return label.replace("_", " ").strip().lower()


def settings_from_json(text: str) -> RecogniserSettings:
    """Parse what ``to_json`` returned; fields that are left out keep their defaults.

    Raises:
        SpecError: a field is unknown, of another type, or makes no sense.
    """
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise SpecError(f"The recogniser's settings are not JSON: {error}.") from None
    if not isinstance(fields, dict):
        raise SpecError("The recogniser's settings are not a JSON object.")
    version = fields.pop("format_version", FORMAT_VERSION)
    if version != FORMAT_VERSION:
        raise SpecError(
            f"The recogniser's settings have format version {version}; this clipedge reads "
            f"{FORMAT_VERSION}."
        )
    for name in fields:
        if name not in RecogniserSettings._fields:
            near = nearest(name, RecogniserSettings._fields)
            raise SpecError(f"The recogniser has no setting '{name}'; {near}")
    for name in ("allow", "deny", "background"):
        if isinstance(fields.get(name), list):
            fields[name] = tuple(fields[name])
    return RecogniserSettings(**fields).validate()


def settings_path(model_path: PathLike) -> pathlib.Path:
    """Where the settings of a model lie: NAME.recogniser.json for NAME.onnx."""
    return pathlib.Path(model_path).with_suffix(SETTINGS_SUFFIX)


def load_settings(
    model_path: PathLike, labels: Sequence[str], explicit: Optional[PathLike] = None
) -> RecogniserSettings:
    """Return the settings for a model: the file given, that beside the model, or the defaults.

    NAME_fp16.engine has those of NAME where it has none of its own.

    Args:
        model_path: ONNX file or engine.
        labels: of the model.
        explicit: settings file that comes before any other; None where nobody gave one.

    Raises:
        UsageError: there is no such explicit file.
        SpecError: the file is damaged, or names a label that the model does not have.
    """
    path = _find(pathlib.Path(model_path), explicit)
    if path is None:
        return RecogniserSettings()
    return read_settings(path, labels)


def read_settings(path: pathlib.Path, labels: Optional[Sequence[str]] = None) -> RecogniserSettings:
    """Return the settings of a file.

    Args:
        path: of the file.
        labels: of the model; None: not known yet.

    Raises:
        UsageError: there is no such file.
        SpecError: the file is damaged, or names a label that the model does not have.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: the recogniser's settings cannot be read: no text.") from None
    except OSError as error:
        raise readable_os_error(error, path) from None
    try:
        return settings_from_json(text).validate(labels)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None


def _find(model: pathlib.Path, explicit: Optional[PathLike]) -> Optional[pathlib.Path]:
    if explicit is not None:
        return pathlib.Path(explicit)
    stem = model.stem
    while stem:
        beside = model.with_name(stem + SETTINGS_SUFFIX)
        if beside.is_file():
            return beside
        stem = stem.rpartition("_")[0]
    shared = model.with_name(FOLDER_SETTINGS)
    return shared if shared.is_file() else None


def _require_number(name: str, value: Any, highest: float) -> None:
    fine = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not fine or not 0.0 <= value <= highest or value == float("inf"):
        holds = "0 or more" if highest == float("inf") else f"from 0 to {highest:g}"
        raise SpecError(f"The recogniser's {name} is {value!r}; expected a number, {holds}.")


def _require_labels(name: str, value: Any) -> None:
    if value is None and name == "allow":
        return
    if not isinstance(value, tuple) or not all(isinstance(label, str) for label in value):
        raise SpecError(f"The recogniser's {name} is {value!r}; expected a list of labels.")

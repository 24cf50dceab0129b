"""ClipSpec: all that a consumer must know of a model, carried by checkpoint, ONNX and engine."""

import json
import pathlib
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from clipedge.jetson.errors import SpecError
from clipedge.jetson.files import PathLike, write_whole

FORMAT_VERSION = 1
METADATA_KEY = "clipedge.spec"  # in the ONNX file's metadata_props
SPEC_SUFFIX = ".spec.json"  # beside an ONNX file or an engine

# ActivityNet's mean, 0-255, as the released weights use it; their std is 1.
ACTIVITYNET_MEAN = (114.7748, 107.7354, 99.4750)
UNIT_STD = (1.0, 1.0, 1.0)
RANDOM_WEIGHTS = "random"


class ClipSpec(NamedTuple):
    """What a model was trained on and how it wants its clips.

    The mean and std are in 0-255 pixel values, in the order of ``channel_order``. Consumers never
    apply them: the exported graph takes raw RGB pixels and normalises inside.
    """

    model: str
    labels: Tuple[str, ...]
    width: Optional[float] = None
    dataset: str = RANDOM_WEIGHTS  # what the weights learned from; RANDOM_WEIGHTS: nothing
    frames: int = 16
    size: int = 112  # height and width of a frame, pixels
    stride_frames: int = 2
    frame_rate_hz: float = 12.0  # of the videos it was trained on; Jester's is 12
    channel_order: str = "RGB"  # what the weights expect; the exported graph always takes RGB
    mean: Tuple[float, float, float] = ACTIVITYNET_MEAN
    std: Tuple[float, float, float] = UNIT_STD

    @property
    def clip_shape(self) -> Tuple[int, int, int, int]:
        """(3, frames, height, width) of one clip."""
        return (3, self.frames, self.size, self.size)

    @property
    def num_classes(self) -> int:
        """Number of logits."""
        return len(self.labels)

    @property
    def spacing_s(self) -> float:
        """Seconds between two frames of a clip."""
        return self.stride_frames / self.frame_rate_hz

    @property
    def span_s(self) -> float:
        """Seconds from the first to the last frame of a clip."""
        return (self.frames - 1) * self.spacing_s

    @property
    def architecture(self) -> str:
        """``shufflenetv1_2.0x``, or ``squeezenet`` where there is no width."""
        return self.model if self.width is None else f"{self.model}_{self.width}x"

    @property
    def file_stem(self) -> str:
        """The name its files get: architecture and data set."""
        return f"{self.architecture}_{self.dataset}"

    def validate(self) -> "ClipSpec":
        """Return self, or raise SpecError naming the first field that makes no sense."""
        checks = [
            (bool(self.model), "model is empty"),
            (isinstance(self.labels, tuple), "labels is no list"),
            (all(isinstance(label, str) for label in self.labels), "a label is no text"),
            (_is_plain_name(self.file_stem), "model and data set make no file name"),
            (len(self.labels) > 0, "it has no labels"),
            (len(set(self.labels)) == len(self.labels), "two labels are the same"),
            (self.width is None or self.width > 0, "width is not above 0"),
            (self.frames > 0, "frames is not above 0"),
            (self.size > 0, "size is not above 0"),
            (self.stride_frames > 0, "stride_frames is not above 0"),
            (self.frame_rate_hz > 0, "frame_rate_hz is not above 0"),
            (self.channel_order in ("RGB", "BGR"), "channel_order is neither RGB nor BGR"),
            (len(self.mean) == 3, "mean has not 3 values"),
            (len(self.std) == 3 and min(self.std) > 0, "std has not 3 values above 0"),
        ]
        for holds, problem in checks:
            if not holds:
                raise SpecError(f"The model's ClipSpec is damaged: {problem}.")
        return self

    def to_dict(self) -> Dict[str, Any]:
        """Return plain JSON types, ``format_version`` first."""
        fields: Dict[str, Any] = {"format_version": FORMAT_VERSION}
        for name, value in zip(self._fields, self):
            fields[name] = list(value) if isinstance(value, tuple) else value
        return fields

    def to_json(self) -> str:
        """Return indented JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    def save(self, path: PathLike) -> None:
        """Write the JSON text to ``path``, whole or not at all."""
        write_whole(path, self.to_json())


def _is_plain_name(text: str) -> bool:
    return not text.startswith(".") and not set(text) & set("/\\\0")


def spec_from_dict(fields: Dict[str, Any]) -> ClipSpec:
    """Build a valid ClipSpec from what ``to_dict`` returned.

    Raises:
        SpecError: a field is missing, unknown, of another type, or makes no sense.
    """
    values = dict(fields)
    version = values.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise SpecError(
            f"The ClipSpec has format version {version}; this clipedge reads {FORMAT_VERSION}. "
            "Export the model again with this version."
        )
    unknown = sorted(set(values) - set(ClipSpec._fields))
    if unknown:
        raise SpecError("The ClipSpec has unknown fields: {}.".format(", ".join(unknown)))
    values = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    try:
        return ClipSpec(**values).validate()
    except TypeError as error:
        raise SpecError(f"The model's ClipSpec is damaged: {error}.") from None


def spec_from_json(text: str) -> ClipSpec:
    """Parse what ``to_json`` returned; raise SpecError where it is damaged."""
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise SpecError(f"The ClipSpec is not JSON: {error}.") from None
    if not isinstance(fields, dict):
        raise SpecError("The ClipSpec is not a JSON object.")
    return spec_from_dict(fields)


def load_spec(path: PathLike) -> ClipSpec:
    """Read a ClipSpec from a JSON file.

    Raises:
        SpecError: the file is missing or damaged.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} cannot be read: {error}.") from None
    return spec_from_json(text)


def numbered_labels(count: int) -> List[str]:
    """Return ``class 0`` ... for a model whose class names nobody gave."""
    return [f"class {index}" for index in range(count)]

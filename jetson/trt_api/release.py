"""Which TensorRT this is: its version, its era and its log."""

import enum
from typing import Any, Callable, Dict, Tuple, TypeVar

from clipedge.jetson.errors import BackendError
from clipedge.jetson.trt_api.native import make_logger

TENSORRT, TENSORRT_RTX = "tensorrt", "tensorrt_rtx"

T = TypeVar("T")


class Era(enum.IntEnum):
    """What the API of a release looks like; the head of the package lists them."""

    BINDINGS = 1
    NAMED = 2
    TYPED = 3


class Release:
    """An imported TensorRT.

    Attributes:
        module: the imported package.
        package: its import name.
        version: as numbers, such as (8, 2, 1, 8).
        version_text: as TensorRT writes it.
        era: which of the three APIs it has.
        logger: collects TensorRT's errors, and hands its messages to logging.
    """

    def __init__(self, module: Any, package: str) -> None:
        self.module = module
        self.package = package
        self.version_text = str(module.__version__)
        self.version = _numbers(self.version_text)
        self.era = _era(package, self.version)
        self.logger = _logger_of(module, package)

    @property
    def strongly_typed(self) -> bool:
        """Whether the types in the ONNX file decide the precision."""
        return self.era == Era.TYPED

    @property
    def builds_without_gpu(self) -> bool:
        """Whether engines can be built for GPUs that are not here."""
        return self.package == TENSORRT_RTX

    def refuse_old_gpu(self, name: str, capability: Tuple[int, int]) -> None:
        """Raise BackendError where this TensorRT has dropped the GPU, such as (6, 1).

        TensorRT itself says so in words of its own, some releases only after a while of building.
        """
        for first_without, newest_dropped, last_with in _DROPPED:
            if self.since(*first_without) and capability <= newest_dropped:
                raise BackendError(
                    f"{self} does not serve {name} (sm_{capability[0]}{capability[1]}); TensorRT "
                    f"{last_with} is the last that does. On a workstation, with its own Python if "
                    f"need be: pip install 'tensorrt<{first_without[0]}.{first_without[1]}'"
                )

    def since(self, *version: int) -> bool:
        """Return whether the API is at least that of TensorRT ``version``; RTX's is of 11."""
        return self.era == Era.TYPED or self.version >= version

    def create(self, constructor: Callable[[], T]) -> T:
        """Call a constructor of TensorRT, which fails where there is no GPU or driver."""
        self.logger.errors.clear()
        self.logger.warnings.clear()
        try:
            return constructor()
        except (RuntimeError, TypeError) as error:
            # From 8.4 on TensorRT only warns that CUDA does not start.
            reason = self.logger.reason("; ".join(self.logger.warnings) or str(error))
            raise BackendError(f"{self} cannot start: {reason}.") from None

    def __str__(self) -> str:
        name = "TensorRT for RTX" if self.package == TENSORRT_RTX else "TensorRT"
        return f"{name} {self.version_text}"


# (release, the newest of the GPUs it dropped, the last release that serves them), oldest first.
# Sources: the release notes of 8.6.0 and 10.5.0; TensorRT's issue 3826 for Pascal.
_DROPPED = (
    ((8, 6), (5, 3), "8.5"),  # Maxwell
    ((10, 0), (6, 2), "8.6"),  # Pascal: Titan Xp
    ((10, 5), (7, 2), "10.4"),  # Volta
)

# TensorRT keeps the first logger it is given for the whole process (its issue 1475): a second one
# would hear nothing, and the first must not be collected.
_loggers: Dict[str, Tuple[Any, Any]] = {}


def _logger_of(module: Any, package: str) -> Any:
    known, logger = _loggers.get(package, (None, None))
    if known is not module:
        logger = make_logger(module)
        _loggers[package] = (module, logger)
    return logger


def _numbers(version_text: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in version_text.split(".") if part.isdigit())


def _era(package: str, version: Tuple[int, ...]) -> Era:
    if package == TENSORRT_RTX or version >= (11,):
        return Era.TYPED
    return Era.NAMED if version >= (8, 5) else Era.BINDINGS

"""Objects that TensorRT calls back: its logger, its progress monitor and its profiler.

They derive from TensorRT's own classes, which exist only once it is imported.
"""

import logging
import re
from typing import Any, Callable, Dict, List

_log = logging.getLogger("clipedge.tensorrt")

# Where in its own sources TensorRT noticed something; no user can do anything with it.
_NOISE = re.compile(
    r"\(?\.? ?In \w+ at /\S+:\d+\)?|\(\[\w+\.(cpp|h):[^\]]*\]|\[\w+\.(cpp|h):[^\]]*\]"
    r"|I\w+::\w+: |Error Code \d+: (Myelin )?"
)
_LONGEST_REASON = 600  # characters


def make_logger(module: Any) -> Any:
    """Return a logger: ``errors`` and ``warnings`` keep what came since they were last cleared."""

    class Logger(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.errors: List[str] = []
            self.warnings: List[str] = []

        def log(self, severity: Any, message: str) -> None:
            name = member_name(severity)
            if name in ("ERROR", "INTERNAL_ERROR"):
                # An exception brings it to the user; here it would only be said twice.
                self.errors.append(_plain(message))
                _log.debug("%s", message)
            elif name == "WARNING":
                self.warnings.append(_plain(message))
                _log.info("%s", message)
            else:
                _log.debug("%s", message)

        def reason(self, otherwise: str = "it gave no reason") -> str:
            """Return the errors in one line, each once, without a last full stop."""
            text = "; ".join(dict.fromkeys(self.errors)) or otherwise.strip()
            if len(text) > _LONGEST_REASON:
                text = text[:_LONGEST_REASON].rsplit(" ", 1)[0] + " ..."
            return text.rstrip(".")

    return Logger()


def make_monitor(module: Any, progress: Callable[[str, int, int], bool]) -> Any:
    """Return a progress monitor; ``stopped`` where ``progress`` asked for the build to end."""

    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            self.stopped = False
            self._steps: Dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: Any, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            # An exception cannot pass through TensorRT; it would end the process.
            try:
                going_on = progress(phase_name, step + 1, self._steps.get(phase_name, 0))
            except BaseException:
                going_on = False
            self.stopped = self.stopped or not going_on
            return going_on

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()


def make_profiler(module: Any, report: Callable[[str, float], None]) -> Any:
    """Return a profiler that hands on each layer's name and milliseconds."""

    class Profiler(module.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            module.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            report(layer_name, ms)

    return Profiler()


def member_name(value: Any) -> str:
    """Return ``CONVOLUTION`` of ``LayerType.CONVOLUTION``."""
    return str(value).rsplit(".", 1)[-1]


def _plain(message: str) -> str:
    return " ".join(_NOISE.sub(" ", message).split())

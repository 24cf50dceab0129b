"""Follows heat, power, clocks and throttling in a thread while something is measured."""

import logging
import threading
import time
from typing import Any, Callable, Dict, List, Optional

from clipedge.jetson.closing import Closing
from clipedge.jetson.conditions.probe import Probe, Reading
from clipedge.jetson.conditions.recording import Recording
from clipedge.jetson.files import PathLike

# With a TX2's files it takes 0.1 % of a core of an AMD EPYC at 2.6 GHz, in Python 3.6.
EVERY_S = 0.5

_log = logging.getLogger(__name__)


class Sampler(Closing):
    """Reads every ``every_s`` seconds until it is closed. A context manager.

        with Sampler() as sampler:
            start_s = sampler.mark()
            ...                                     # measure
            facts = sampler.summary(start_s, sampler.mark(), clips=800)

    Times are those of ``time.monotonic``.
    """

    def __init__(
        self,
        every_s: float = EVERY_S,
        root: PathLike = "/",
        probe: Optional[Callable[[], Reading]] = None,
    ) -> None:
        """Find the sensors, read once and start the thread.

        Args:
            every_s: between two readings.
            root: where the machine's files lie.
            probe: reads instead of a ``Probe`` of its own; it is not closed.
        """
        self._every_s = every_s
        self._own = Probe(root, every_s) if probe is None else None
        self._probe = probe or self._own
        self.missing: Dict[str, str] = dict(getattr(self._probe, "missing", {}))
        self._recording = Recording(every_s, self.missing)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._cpu_s = 0.0
        self._started_s = time.monotonic()
        self._thread = threading.Thread(target=self._sample, name="conditions", daemon=True)
        try:
            self.mark()
            self._thread.start()
        except BaseException:
            self._close_probe()
            raise

    def mark(self) -> float:
        """Read now and return the time, so that a span begins or ends with a reading."""
        with self._lock:
            reading = self._probe()  # type: ignore[misc]
            self._recording.add(reading)
        return reading.t_s

    def summary(
        self, start_s: float, end_s: float, clips: Optional[float] = None
    ) -> Dict[str, Any]:
        """Return what a span ran under; the keys are those of ``Recording.summary``."""
        with self._lock:
            return self._recording.summary(start_s, end_s, clips)

    def series(self, start_s: float, end_s: float) -> Dict[str, List[Optional[float]]]:
        """Return the readings of a span; the keys are those of ``Recording.series``."""
        with self._lock:
            return self._recording.series(start_s, end_s)

    def facts(self) -> Dict[str, float]:
        """Return ``every_s`` and ``cpu_share``, as plain JSON types."""
        return {"every_s": self._every_s, "cpu_share": round(self.cpu_share(), 6)}

    def cpu_share(self) -> float:
        """Return the share of one core's time that the thread has used since it started."""
        return self._cpu_s / max(1e-9, time.monotonic() - self._started_s)

    def close(self) -> None:
        """End the thread and what it started; a second call does nothing."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._close_probe()

    def _close_probe(self) -> None:
        if self._own is not None:
            self._own.close()

    def _sample(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                self.mark()
            except Exception:
                # The measurement goes on; its summary will tell of the gap.
                _log.warning("The conditions are no longer followed:", exc_info=True)
                return
            # Not time.thread_time: Python 3.6 has none.
            self._cpu_s = time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)

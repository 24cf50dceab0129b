"""The end of a run that would go on for ever: Ctrl-C, SIGTERM, a closed terminal."""

import signal
import threading
import time
from typing import Any, Dict

from clipedge.jetson.closing import Closing

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
# A closing terminal and ``timeout`` signal the process and then its group: that is one request.
SAME_S = 0.2


class StopRequests(Closing):
    """Notes the first request to end, so that the step under way is finished and nothing is lost.

    A second request raises KeyboardInterrupt, for whoever does not want to wait. The handlers of
    before are back after ``close``. Outside the main thread nothing is heard, as Python has it.
    """

    def __init__(self) -> None:
        self._before: Dict[int, Any] = {}
        self.heard = False
        self._heard_s = 0.0
        if threading.current_thread() is not threading.main_thread():
            return
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # not nohup
                self._before[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        if self.heard and time.monotonic() - self._heard_s > SAME_S:
            handler = self._before[number]
            if callable(handler):  # the command's own, which counts the interrupt
                handler(number, frame)
            raise KeyboardInterrupt
        if not self.heard:
            self.heard, self._heard_s = True, time.monotonic()

    def close(self) -> None:
        """Hear no more."""
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

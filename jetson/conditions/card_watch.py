"""Follows graphics cards during a measurement: one nvidia-smi that goes on telling.

To start one for every reading would take a tenth of a second of a core each time.
"""

import subprocess
import threading
import time
from typing import Dict, List, Tuple

from clipedge.jetson.closing import Closing
from clipedge.jetson.conditions.cards import Card, parse, read_cards
from clipedge.jetson.conditions.tools import Run, plain_environment
from clipedge.jetson.conditions.tree import MissingError

STALE_AFTER = 5  # intervals
STALE_S = 2.0  # at the least
END_WITHIN_S = 2.0


class CardWatch(Closing):
    """Reads the lines of ``nvidia-smi -lms`` in a thread and keeps the latest of each card.

    Raises:
        MissingError: nvidia-smi is not there, or fails.
    """

    def __init__(self, run: Run, every_s: float) -> None:
        """Ask once, then start the one that goes on."""
        cards, command = read_cards(run)
        self._stale_s = max(STALE_S, STALE_AFTER * every_s)
        now_s = time.monotonic()
        self._latest: Dict[int, Tuple[float, Card]] = {
            index: (now_s, card) for index, card in enumerate(cards)
        }
        try:
            self._process = subprocess.Popen(
                [*command, "-lms", str(int(1000 * every_s))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                universal_newlines=True,
                bufsize=1,
                env=plain_environment(),
            )
        except OSError as error:
            raise MissingError(f"nvidia-smi cannot be started: {error.strerror}") from None
        self._thread = threading.Thread(target=self._read, name="nvidia-smi", daemon=True)
        self._thread.start()

    def latest(self) -> List[Card]:
        """Return what each card last told; nothing of those that are silent for long."""
        now_s = time.monotonic()
        latest = sorted(self._latest.items())
        return [card for _, (told_s, card) in latest if now_s - told_s <= self._stale_s]

    def close(self) -> None:
        """End nvidia-smi and the thread; a second call does nothing."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._thread.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            try:
                card = parse(line)
            except MissingError:
                continue
            self._latest[card.facts["index"] or 0] = (time.monotonic(), card)

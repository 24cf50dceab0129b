"""How much of the cores' time other programs took while something was measured."""

import os
import time
from typing import Optional

from clipedge.jetson import board


class Bystanders:
    """Counts from its making on.

    bystanders = Bystanders()
    ...                                  # a process measures, and says the CPU time it used
    share = bystanders.share(cpu_s)
    """

    def __init__(self) -> None:
        self._before = board.processor_times()
        self._own_s = time.process_time()

    def share(self, measured_cpu_s: float) -> Optional[float]:
        """Return the share of the cores' time, 0 to 1; None where the kernel does not tell.

        The cores are those that we may use; what other machines on the same host take of them
        (steal) counts too. It is read in hundredths of a second.

        Args:
            measured_cpu_s: CPU time of the process that was measured; this one's is known.
        """
        after = board.processor_times()
        if self._before is None or after is None or after[1] <= self._before[1]:
            return None
        ticks_a_s = os.sysconf("SC_CLK_TCK")
        total_s = (after[1] - self._before[1]) / ticks_a_s
        idle_s = (after[0] - self._before[0]) / ticks_a_s
        own_s = time.process_time() - self._own_s
        return round(min(1.0, max(0.0, (total_s - idle_s - own_s - measured_cpu_s) / total_s)), 4)

"""The device whose physical limit a row is held against: of the table, or measured on the spot."""

import logging
from typing import Any, Dict, Optional

from clipedge.benchmarks.devices import Device, device_of_facts, recognise_device
from clipedge.benchmarks.speed.document import Document
from clipedge.benchmarks.speed.rows import add_limit
from clipedge.jetson.errors import ClipedgeError

_log = logging.getLogger(__name__)

_UNASKED = "this machine's peak rates were not measured: --limit measures them"


class LimitDevices:
    """Finds the devices once and notes them in ``document["limit_devices"]``."""

    def __init__(self, document: Document, measure_cpu: bool, threads: Optional[int]) -> None:
        """Find the CPU's rates: of the document, which may have been begun earlier, or measured.

        Args:
            document: to note them in.
            measure_cpu: time this machine's matrix product and memory, half a minute.
            threads: of the CPU; None: as many as it has cores.
        """
        self._rows = document["rows"]
        self._noted = document["limit_devices"]
        self._conditions = document["conditions"]
        self._devices: Dict[str, Optional[Device]] = {}
        self._threads = threads
        if self._noted["cpu"] is not None:
            self._devices["cpu"] = device_of_facts(self._noted["cpu"])
        elif measure_cpu:
            self._measure_cpu()
        else:
            self._noted["missing"].setdefault("cpu", _UNASKED)

    def complete(self) -> None:
        """Put limits into rows that were measured before the rates were."""
        for row in self._rows:
            device = self.of(row)
            if row["limit"] is None and device is not None:
                add_limit(row, device)

    def of(self, row: Dict[str, Any]) -> Optional[Device]:
        """Return the device that a row ran on, None where its limit is not known."""
        if row["threads"] is not None:
            return self._devices.get("cpu")
        if "gpu" not in self._devices:
            self._recognise(row["device"])
        return self._devices["gpu"]

    def _recognise(self, gpu_name: str) -> None:
        names = [self._conditions["board"]["name"], self._conditions["board"]["module"], gpu_name]
        found = [recognise_device(name) for name in names if name]
        device = next((one for one in found if one is not None), None)
        self._devices["gpu"] = device
        self._noted["gpu"] = device and device.facts()
        if device is None:
            self._noted["missing"]["gpu"] = f"no limit is known of {gpu_name}"

    def _measure_cpu(self) -> None:
        from clipedge.benchmarks.machine_rates import measure_machine

        _log.info("Measuring this machine's matrix product and memory, for the limit.")
        try:
            device, conditions = measure_machine(self._threads)
        except ClipedgeError as error:
            self._noted["missing"]["cpu"] = str(error)
            return
        self._devices["cpu"] = device
        self._noted["cpu"] = dict(device.facts(), measured=conditions)
        self._noted["missing"].pop("cpu", None)

"""What an engine needs to run one batch size: an execution, buffers on both sides, and events."""

import contextlib
import time
from typing import Any, Callable, Tuple, TypeVar

import numpy as np

from clipedge.jetson.cuda import Buffer, CudaSession, Event
from clipedge.jetson.runners.base import TimingMs
from clipedge.jetson.trt_api import Engine, Execution

PINNED, MAPPED = "pinned", "mapped"  # kinds of host memory; `Lane` says what they are

_Resource = TypeVar("_Resource", Buffer, Event)


class Lane:
    """The execution, buffers and events of one batch size.

    ``pinned``: the GPU copies page-locked memory of the host to its own and back. ``mapped``: its
    kernels read and write the host's memory. That saves the copies where both share one memory,
    but a TX2 does not cache it for the CPU.
    """

    def __init__(
        self,
        session: CudaSession,
        engine: Engine,
        execution: Execution,
        shapes: Tuple[Tuple[int, ...], Tuple[int, ...]],
        memory: str,
    ) -> None:
        self.execution = execution
        self._session = session
        self._names = [tensor.name for tensor in engine.tensors if tensor.is_input]
        self._names += [tensor.name for tensor in engine.tensors if not tensor.is_input]
        self._kept = contextlib.ExitStack()
        with self._kept:  # where one fails, the others are freed
            self._copies = memory == PINNED
            make_host = session.pinned_buffer if self._copies else session.mapped_buffer
            self._host = [self._keep(make_host, shape, np.float32) for shape in shapes]
            self._device = self._host
            if self._copies:
                make = session.device_buffer
                self._device = [self._keep(make, shape, np.float32) for shape in shapes]
            self._events = [self._keep(session.event) for _ in range(4)]
            self._kept = self._kept.pop_all()

    @property
    def gpu_bytes(self) -> int:
        """The GPU's own memory that clips and logits take."""
        return sum(buffer.array.nbytes for buffer in self._host) if self._copies else 0

    def bind(self) -> None:
        """Let the execution use this lane's buffers."""
        addresses = [buffer.address for buffer in self._device]
        self.execution.bind(dict(zip(self._names, addresses)))

    def run(self, clips: np.ndarray) -> Tuple[np.ndarray, TimingMs]:
        """Score clips; return logits of the caller's own, and where the time went."""
        session, events = self._session, self._events
        start_s = time.perf_counter()
        np.copyto(self._host[0].array, clips)
        staging_ms = (time.perf_counter() - start_s) * 1e3
        session.record(events[0])
        self._queue(lambda index: session.record(events[index]))
        session.record(events[3])
        session.synchronize()
        h2d, compute, d2h = [
            session.elapsed_ms(start, end) for start, end in zip(events, events[1:])
        ]
        if not self._copies:
            h2d = d2h = 0.0
        return np.array(self._host[1].array), TimingMs(h2d, compute, d2h, staging_ms)

    def run_untimed(self, clips: np.ndarray) -> np.ndarray:
        """Score clips; return the buffer that the logits lie in."""
        np.copyto(self._host[0].array, clips)
        self._queue(lambda index: None)
        self._session.synchronize()
        logits: np.ndarray = self._host[1].array
        return logits

    def free(self) -> None:
        """Free buffers and events; the execution stays."""
        self._kept.close()

    def _queue(self, between: Callable[[int], None]) -> None:
        """Queue copies and engine; call ``between`` with 1 before the engine and 2 behind it."""
        if self._copies:
            self._session.copy_to_device(self._host[0], self._device[0])
        between(1)
        self.execution.enqueue(self._session.stream_handle)
        between(2)
        if self._copies:
            self._session.copy_to_host(self._device[1], self._host[1])

    def _keep(self, make: Callable[..., _Resource], *arguments: Any) -> _Resource:
        resource = make(*arguments)
        self._kept.callback(self._session.free, resource)
        return resource

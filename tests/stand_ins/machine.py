"""A make-believe GPU: memory, streams, events and contexts, shared by both stand-ins.

Work that a stream is given waits in a queue and is done, in order, when something waits for the
stream. So a host that reads a result before it waited reads NaN, and one that overwrites an input
before it waited sends the new numbers, as on a real GPU. Time is counted, not measured.

What a real GPU does silently (a leak) or does not define (a use after free) is written down in
`Machine.problems`, so that a test can see it.
"""

import threading
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

GARBAGE = 0xFF  # as float32 and float16: NaN
COPY_BYTES_PER_MS = 10e6  # of the counted time: 10 GB/s
KERNEL_MS = 2.0  # of the counted time, for one clip
_ALIGNMENT = 512


class Gpu(NamedTuple):
    """What the machine has. The defaults are a Jetson TX2 with JetPack 4.6's CUDA."""

    name: str = "NVIDIA Tegra X2"
    compute_capability: Tuple[int, int] = (6, 2)
    memory_bytes: int = 8 * 1024**3
    integrated: bool = True
    cuda_version: Tuple[int, int] = (10, 2)
    count: int = 1


TX2 = Gpu()
TITAN_XP = Gpu("NVIDIA TITAN Xp", (6, 1), 12 * 1024**3, False, (12, 2))
RTX_3060 = Gpu("NVIDIA GeForce RTX 3060", (8, 6), 12 * 1024**3, False, (13, 0))
NO_GPU = Gpu("", (0, 0), 0, False, (0, 0), 0)


class CudaError(Exception):
    """A failure of the CUDA driver: which call, which error code by name, what it says."""

    def __init__(self, call: str, code: str, text: str) -> None:
        super().__init__(f"{call} failed: {text}")
        self.code = code


class Block:
    """One allocation: `data` are its bytes, seen from the host too where it is host memory."""

    def __init__(self, address: int, data: np.ndarray, context: Any, host: bool) -> None:
        self.address = address
        self.data = data
        self.context = context
        self.host = host


class Stream:
    """A queue of work; `handle` is what C calls know it by."""

    def __init__(self, machine: "Machine", handle: int, context: Any) -> None:
        self.machine = machine
        self.handle = handle
        self.context = context
        self.queue: List[Tuple[Callable[[], None], float, Sequence[int]]] = []

    def add(
        self, work: Callable[[], None], takes_ms: float = 0.0, touches: Sequence[int] = ()
    ) -> None:
        """Queue work that takes so long and reads or writes at these addresses."""
        self.queue.append((work, takes_ms, touches))

    def run(self, until: Optional[Callable[[], bool]] = None) -> None:
        """Do the waiting work in order, all of it or until `until` holds."""
        with self.machine.lock:
            while self.queue and not (until and until()):
                work, takes_ms, _ = self.queue.pop(0)
                self.machine.clock_ms += takes_ms
                work()


class CudaContext:
    """A CUDA context; it dies with `destroy` and takes what was made in it along."""

    def __init__(self, machine: "Machine", flags: int) -> None:
        self.machine = machine
        self.flags = flags
        self.thread = threading.get_ident()
        self.alive = True


class Machine:
    """All state of one make-believe machine; tests read `problems` and `live_objects()`."""

    def __init__(self, gpu: Gpu = TX2) -> None:
        self.gpu = gpu
        self.lock = threading.RLock()
        self.clock_ms = 0.0
        self.problems: List[str] = []
        self.blocks: Dict[int, Block] = {}
        self.streams: Dict[int, Stream] = {}
        self.initialised = False
        self._stacks: Dict[int, List[CudaContext]] = {}
        self._live: Dict[int, Tuple[str, bool]] = {}
        self._next_key = 0
        self._next_address = 0x7F0000000000
        self._next_handle = 0x5500

    # --- What is alive ------------------------------------------------------------------------

    def born(self, what: str, on_gpu: bool = True) -> int:
        with self.lock:
            self._next_key += 1
            self._live[self._next_key] = (what, on_gpu)
            return self._next_key

    def died(self, key: int) -> None:
        self._live.pop(key, None)

    def live_objects(self) -> List[str]:
        """Everything that was made and not given back, in the order of making."""
        return [what for _, (what, _) in sorted(self._live.items())]

    def problem(self, text: str) -> None:
        self.problems.append(text)

    # --- Contexts -----------------------------------------------------------------------------

    def stack(self) -> List[CudaContext]:
        """The contexts that this thread has pushed, the current one last."""
        return self._stacks.setdefault(threading.get_ident(), [])

    def current_context(self) -> Optional[CudaContext]:
        stack = self.stack()
        while stack and not stack[-1].alive:
            stack.pop()
        return stack[-1] if stack else None

    def left_on_stacks(self) -> int:
        return sum(1 for stack in self._stacks.values() for context in stack if context.alive)

    def destroy(self, context: CudaContext) -> None:
        context.alive = False
        left = [block for block in list(self.blocks.values()) if block.context is context]
        if left:
            self.problem(f"a CUDA context was destroyed with {len(left)} allocations in it")

    # --- Memory -------------------------------------------------------------------------------

    def used_bytes(self) -> int:
        return sum(block.data.nbytes for block in list(self.blocks.values()))

    def allocate(self, nbytes: int, context: Any, host: bool, call: str) -> Block:
        if nbytes <= 0:
            raise CudaError(call, "INVALID_VALUE", "invalid argument")
        if self.used_bytes() + nbytes > self.gpu.memory_bytes:
            raise CudaError(call, "OUT_OF_MEMORY", "out of memory")
        data = np.full(nbytes, GARBAGE, np.uint8)
        with self.lock:
            block = Block(self._next_address, data, context, host)
            self._next_address += (nbytes // _ALIGNMENT + 2) * _ALIGNMENT
            self.blocks[block.address] = block
        return block

    def free(self, block: Block) -> None:
        """Give memory back; work that still waits in a stream may want it: that is a problem."""
        places = range(block.address, block.address + block.data.nbytes)
        queued = [entry for one in list(self.streams.values()) for entry in list(one.queue)]
        if any(address in places for _, _, touches in queued for address in touches):
            self.problem("memory was freed while work waited in a stream")
        self.blocks.pop(block.address, None)

    def view(self, address: int, nbytes: int) -> np.ndarray:
        """The bytes at an address, or CudaError where they are not allocated."""
        for block in list(self.blocks.values()):
            offset = address - block.address
            if offset >= 0 and offset + nbytes <= block.data.nbytes:
                return block.data[offset : offset + nbytes]
        self.problem(f"{nbytes} bytes at {address:#x} are not, or no longer, allocated")
        raise CudaError(
            "cuStreamSynchronize", "ILLEGAL_ADDRESS", "an illegal memory access was encountered"
        )

    def spoil(self, address: int, nbytes: int) -> None:
        """Fill a result that is still to come, where the host could look at it, with NaN."""
        for block in list(self.blocks.values()):
            offset = address - block.address
            if block.host and offset >= 0 and offset + nbytes <= block.data.nbytes:
                block.data[offset : offset + nbytes] = GARBAGE

    # --- Streams ------------------------------------------------------------------------------

    def new_stream(self, context: Any) -> Stream:
        with self.lock:
            self._next_handle += 0x10
            stream = Stream(self, self._next_handle, context)
            self.streams[stream.handle] = stream
            return stream

    def stream(self, handle: int) -> Optional[Stream]:
        """The stream a C call was given; 0 is the default stream, made when it is wanted."""
        if handle == 0 and 0 not in self.streams:
            self.streams[0] = Stream(self, 0, None)
        return self.streams.get(handle)

    def run_all(self) -> None:
        for stream in list(self.streams.values()):
            stream.run()

    # --- The end ------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise AssertionError where something of a GPU was left behind, or was done wrong.

        What holds memory of the host alone, such as a builder, may live on in a traceback.
        """
        if self.left_on_stacks():
            self.problem("a CUDA context was left current: its thread would abort at its end")
        if any(stream.queue for stream in self.streams.values()):
            self.problem("work was left waiting in a stream")
        alive = [f"still alive: {what}" for what, on_gpu in self._live.values() if on_gpu]
        complaints = self.problems + alive
        assert not complaints, "\n".join(complaints)

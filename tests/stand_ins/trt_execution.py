"""The stand-in's execution contexts: they check what a call needs, and compute with ONNX Runtime.

What is wrong is logged and the call returns False, as the real one does. The numbers are computed
when the stream gets there.
"""

from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from stand_ins import onnx_walk
from stand_ins.machine import CudaError
from stand_ins.trt_object import TrtObject

LAYER_MS = 0.25  # of the counted time, for one layer and clip in fp32

# Releases whose enqueue tells a profiler nothing: only a call that waits does.
_SILENT_WHEN_ASYNCHRONOUS = ("8.0.1",)


def right_context(thing: Any, call: str) -> bool:
    """Whether the CUDA context that the engine was opened in is current; where not: logged."""
    engine = getattr(thing, "_engine", thing)
    if engine._home.machine.current_context() is engine._context:
        return True
    engine._home.machine.problem(f"{call}: the engine's CUDA context is not current")
    thing._log("ERROR", f"1: [{call}] Error Code 1: Cuda Runtime (invalid device context)")
    return False


class IExecutionContext(TrtObject):
    def _started(self) -> Any:
        engine = self._engine
        self._context = engine._context
        self._profiler: Any = None
        self._emits = self._home.key not in _SILENT_WHEN_ASYNCHRONOUS
        self._pending: List[Tuple[str, float]] = []
        self._profile = -1
        self._forget()
        if self._home.release.shared_profiles or 0 not in engine._profile_users:
            self._take(0)
        self._live("execution context", on_gpu=True)
        return self

    def __del__(self) -> None:
        if self._key is None:
            return
        machine = self._home.machine
        machine.died(self._key)
        self._engine._profile_users.pop(self._profile, None)
        if self._context is not None and not self._context.alive:
            machine.problem("an execution context was deleted after its CUDA context")
        elif self._context is not machine.current_context():
            machine.problem("an execution context was deleted with its CUDA context not current")
        if self._waiting:
            machine.problem("an execution context was deleted while its work waited in a stream")

    _waiting = 0

    def _forget(self) -> None:
        self._shapes: Dict[str, Tuple[int, ...]] = {}
        self._addresses: Dict[str, int] = {}

    def _take(self, profile: int) -> None:
        self._engine._profile_users.pop(self._profile, None)
        self._profile = profile
        self._engine._profile_users[profile] = True

    # --- Every era ----------------------------------------------------------------------------

    @property
    def engine(self) -> Any:
        return self._engine

    @property
    def active_optimization_profile(self) -> int:
        return int(self._profile)

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        engine = self._engine
        if not right_context(self, "setOptimizationProfileAsync"):
            return False
        if not 0 <= profile_index < len(engine._plan.profiles):
            return self._refuse(f"profile index {profile_index} is out of range")
        if engine._home.machine.stream(int(stream_handle)) is None:
            return self._refuse("the stream's handle is invalid (invalid resource handle)")
        if profile_index != self._profile:
            users = engine._profile_users
            if profile_index in users and not self._home.release.shared_profiles:
                return self._refuse(f"profile {profile_index} is in use by another context")
            self._take(profile_index)
            self._forget()
        return True

    @property
    def profiler(self) -> Any:
        return self._profiler

    @profiler.setter
    def profiler(self, profiler: Any) -> None:
        self._profiler = profiler

    @property
    def enqueue_emits_profile(self) -> bool:
        return self._emits

    @enqueue_emits_profile.setter
    def enqueue_emits_profile(self, emits: bool) -> None:
        self._emits = emits

    def report_to_profiler(self) -> bool:
        return self._report()

    def _report(self) -> bool:
        if self._profiler is None or not self._pending:
            return self._refuse("there is no finished enqueue to report")
        base = self._home.members.get("IProfiler", ())
        for name, ms in self._pending:
            if "report_layer_time" in base:
                self._home.call_back(self._profiler.report_layer_time, name, ms)
        self._pending = []
        return True

    # --- Bindings -----------------------------------------------------------------------------

    def set_binding_shape(self, binding: int, shape: Sequence[int]) -> bool:
        count = len(self._engine._io)
        if self._profile < 0 or not 0 <= binding - self._profile * count < count:
            return self._refuse(f"binding {binding} is not of profile {self._profile}")
        return self._set_shape(self._engine._io[binding % count], shape)

    def get_binding_shape(self, binding: int) -> Tuple[int, ...]:
        return self._shape_now(self._engine._io[binding % len(self._engine._io)])

    @property
    def all_binding_shapes_specified(self) -> bool:
        return not self._missing()

    def execute_v2(self, bindings: Sequence[int]) -> bool:
        """Run on the default stream, behind all that other streams hold, and wait."""
        self._home.machine.run_all()
        done = self.execute_async_v2(bindings, 0)
        if done:
            self._home.machine.run_all()
            if self._profiler is not None and self._pending:
                self._report()
        return done

    def execute_async_v2(self, bindings: Sequence[int], stream_handle: int) -> bool:
        engine = self._engine
        if len(bindings) != len(engine._io) * len(engine._plan.profiles):
            return self._refuse(f"{len(bindings)} bindings; one for each of every profile is due")
        start = max(self._profile, 0) * len(engine._io)
        for at, (name, _, _) in enumerate(engine._io):
            self._addresses[name] = int(bindings[start + at])
        return self._enqueue(stream_handle)

    # --- Named tensors ------------------------------------------------------------------------

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        entry = self._engine._entry(name)
        if entry is None or not entry[1]:
            return self._refuse(f"{name} is no input tensor")
        return self._set_shape(entry, shape)

    def get_tensor_shape(self, name: str) -> Tuple[int, ...]:
        return self._shape_now(self._engine._entry(name))

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if self._engine._entry(name) is None:
            return self._refuse(f"{name} is no input or output tensor")
        self._addresses[name] = int(memory)
        return True

    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    def infer_shapes(self) -> List[str]:
        return self._missing()

    def execute_async_v3(self, stream_handle: int) -> bool:
        return self._enqueue(stream_handle)

    # --- What both have in common -------------------------------------------------------------

    def _refuse(self, text: str) -> bool:
        self._log("ERROR", f"3: [executionContext.cpp] Error Code 3: API Usage Error ({text})")
        return False

    def _set_shape(self, entry: Any, shape: Sequence[int]) -> bool:
        name = entry[0]
        if self._profile < 0:
            return self._refuse("no optimization profile is set")
        low, _, high = self._engine._plan.profiles[self._profile][name]
        shape = tuple(int(size) for size in shape)
        fits = len(shape) == len(low) and all(a <= b <= c for a, b, c in zip(low, shape, high))
        if not fits:
            return self._refuse(f"{name}: {shape} is not within profile {self._profile}")
        self._shapes[name] = shape
        return True

    def _missing(self) -> List[str]:
        return [name for name, given, _ in self._engine._io if given and name not in self._shapes]

    def _shape_now(self, entry: Any) -> Tuple[int, ...]:
        name, is_input, shape = entry
        if is_input:
            return self._shapes.get(name, shape)
        batch = next((given[0] for given in self._shapes.values()), -1)
        return tuple(batch if size == -1 else size for size in shape)

    def _enqueue(self, stream_handle: int) -> bool:
        if not right_context(self, "enqueue"):
            return False
        stream = self._home.machine.stream(int(stream_handle))
        if stream is None or (stream.context is not None and not stream.context.alive):
            return self._refuse("invalid resource handle: there is no such stream")
        if self._profile < 0 or self._missing():
            return self._refuse(f"no profile, or no shape of {', '.join(self._missing())}")
        absent = [name for name, _, _ in self._engine._io if not self._addresses.get(name)]
        if absent:
            return self._refuse(f"no address of {', '.join(absent)}")
        layers = self._layer_times()
        machine, places = self._home.machine, self._places()
        machine.spoil(*places[-1])
        self._waiting += 1
        takes_ms = sum(ms for _, ms in layers)
        stream.add(lambda: self._compute(places, layers), takes_ms, [at for at, _ in places])
        if self._profiler is not None and self._emits:
            stream.run()  # with a profiler, the real one waits too
            self._report()
        return True

    def _places(self) -> List[Tuple[int, int]]:
        """(address, bytes) of each input, then of the output, as they are now."""
        places = []
        for entry in sorted(self._engine._io, key=lambda entry: not entry[1]):
            size = int(np.prod(self._shape_now(entry))) * 4
            places.append((self._addresses[entry[0]], size))
        return places

    def _layer_times(self) -> List[Tuple[str, float]]:
        batch = next(iter(self._shapes.values()))[0]
        each = LAYER_MS * batch / (2 if self._engine._plan.half else 1)
        return [(name, each) for name in self._engine._layers]

    def _compute(self, places: List[Tuple[int, int]], layers: List[Tuple[str, float]]) -> None:
        self._waiting -= 1
        machine = self._home.machine
        (source, source_bytes), (target, target_bytes) = places
        shape = next(iter(self._engine._plan.profiles[self._profile].values()))[0]
        clips = machine.view(source, source_bytes).view(np.float32)
        clips = clips.reshape((-1, *shape[1:])).copy()
        out = machine.view(target, target_bytes)
        self._check_owner(source, target)
        logits = self._with_fault(onnx_walk.run(self._engine._plan.onnx, clips))
        out[:] = np.ascontiguousarray(logits, np.float32).reshape(-1).view(np.uint8)
        self._pending = layers

    def _check_owner(self, *addresses: int) -> None:
        machine = self._home.machine
        for block in list(machine.blocks.values()):
            for address in addresses:
                inside = 0 <= address - block.address < block.data.nbytes
                if inside and block.context is not self._context:
                    machine.problem("an engine was given memory of another CUDA context")
                    raise CudaError("cuLaunchKernel", "ILLEGAL_ADDRESS", "illegal memory access")

    def _with_fault(self, logits: np.ndarray) -> np.ndarray:
        """What fp16 makes of the logits: rounded, and spoilt where the test wants it."""
        plan = self._engine._plan
        if plan.half:
            logits = logits.astype(np.float16).astype(np.float32)
        effect: Optional[str] = plan.fault
        if effect:
            logits = np.array(logits)
            logits[:, 0] = float(effect) + (logits[:, 0] if np.isfinite(float(effect)) else 0)
        return logits


CLASSES: Dict[str, type] = {"IExecutionContext": IExecutionContext}

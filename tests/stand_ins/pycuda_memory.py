"""Memory in the pycuda stand-in: allocations, page-locked arrays, copies."""

from typing import Any, Callable, Dict

import numpy as np

from stand_ins.machine import COPY_BYTES_PER_MS, GARBAGE, Block, CudaError
from stand_ins.pycuda_objects import Owned, driver_call, stream_of

MAP_HOST, DEVICEMAP = 0x8, 0x2


class DeviceAllocation(Owned):
    _block: Block

    def __int__(self) -> int:
        return self._block.address

    __index__ = __int__

    @driver_call
    def free(self) -> None:
        if self._key is None:
            raise CudaError("device_allocation::free", "INVALID_HANDLE", "invalid resource handle")
        if self._disown():
            self._home.machine.free(self._block)

    def __del__(self) -> None:
        if self._key is not None and self._disown():
            self._home.machine.free(self._block)


class PagelockedHostAllocation(DeviceAllocation):
    """What the ``base`` of a page-locked array is."""

    @property
    def __array_interface__(self) -> Dict[str, Any]:
        return dict(self._as_array)

    def get_flags(self) -> int:
        return int(self._flags)

    @driver_call
    def get_device_pointer(self) -> int:
        call = "cuMemHostGetDevicePointer"
        self._home.current(call)
        if self._key is None or not self._flags & DEVICEMAP:
            raise CudaError(call, "INVALID_VALUE", "invalid argument")
        if not self._context.flags & MAP_HOST:
            raise CudaError(call, "INVALID_VALUE", "invalid argument")
        return self._block.address


def _mem_alloc(home: Any, nbytes: int) -> Any:
    made = home.classes["DeviceAllocation"].__new__(home.classes["DeviceAllocation"])
    if type(nbytes) is not int:  # Boost.Python takes no numpy integer
        raise TypeError(f"mem_alloc({type(nbytes).__name__}) did not match C++ signature")
    context = home.current("cuMemAlloc")
    made._block = home.machine.allocate(nbytes, context, False, "cuMemAlloc")
    made._own(f"{nbytes} bytes of device memory", "cuMemAlloc")
    return made


def _pagelocked_empty(
    home: Any, shape: Any, dtype: Any, order: str = "C", mem_flags: int = 0
) -> Any:
    assert order == "C", "the stand-in knows C order only"
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    kind = np.dtype(dtype)
    nbytes = int(np.prod(shape)) * kind.itemsize
    cls = home.classes["PagelockedHostAllocation"]
    made = cls.__new__(cls)
    made._flags = mem_flags
    context = home.current("cuMemHostAlloc")
    made._block = home.machine.allocate(nbytes, context, True, "cuMemHostAlloc")
    made._own(f"{nbytes} bytes of host memory", "cuMemHostAlloc")
    place = made._block.data.__array_interface__["data"]
    made._as_array = {"version": 3, "data": place, "shape": shape, "typestr": kind.str}
    return np.asarray(made)


def _copy_in(home: Any, dest: Any, src: Any, stream: Any = None) -> None:
    """memcpy_htod_async: the host's numbers are read when the copy runs, not now."""
    home.current("cuMemcpyHtoDAsync")
    source = _host_bytes(home, src, "cuMemcpyHtoDAsync", pagelocked=True)
    stream_of(home, stream).add(
        lambda: _copy(home.machine.view(int(dest), source.nbytes), source),
        source.nbytes / COPY_BYTES_PER_MS,
        (int(dest), _address_of(home, source)),
    )


def _copy_out(home: Any, dest: Any, src: Any, stream: Any = None) -> None:
    """memcpy_dtoh_async: the host's array holds NaN until the copy has run."""
    home.current("cuMemcpyDtoHAsync")
    target = _host_bytes(home, dest, "cuMemcpyDtoHAsync", pagelocked=True)
    target[:] = GARBAGE
    stream_of(home, stream).add(
        lambda: _copy(target, home.machine.view(int(src), target.nbytes)),
        target.nbytes / COPY_BYTES_PER_MS,
        (int(src), _address_of(home, target)),
    )


def _copy_in_now(home: Any, dest: Any, src: Any) -> None:
    home.current("cuMemcpyHtoD")
    home.machine.run_all()
    source = _host_bytes(home, src, "cuMemcpyHtoD", pagelocked=False)
    _copy(home.machine.view(int(dest), source.nbytes), source)


def _copy_out_now(home: Any, dest: Any, src: Any) -> None:
    home.current("cuMemcpyDtoH")
    home.machine.run_all()
    target = _host_bytes(home, dest, "cuMemcpyDtoH", pagelocked=False)
    _copy(target, home.machine.view(int(src), target.nbytes))


def _address_of(home: Any, array: np.ndarray) -> int:
    """The machine's address of page-locked bytes; 0 where they are none."""
    place = array.ctypes.data
    for block in list(home.machine.blocks.values()):
        offset = place - block.data.ctypes.data
        if block.host and 0 <= offset < block.data.nbytes:
            return int(block.address + offset)
    return 0


def _copy(target: np.ndarray, source: np.ndarray) -> None:
    target[:] = source


def _host_bytes(home: Any, array: Any, call: str, pagelocked: bool) -> np.ndarray:
    """The bytes of a host array; asynchronous copies want page-locked memory that still is."""
    flat = np.asarray(array)
    if not flat.flags.c_contiguous:
        raise home.errors["LogicError"](f"{call} failed: ndarray is not contiguous")
    address = flat.ctypes.data
    locked = any(
        block.host
        and block.data.ctypes.data <= address
        and address + flat.nbytes <= block.data.ctypes.data + block.data.nbytes
        for block in list(home.machine.blocks.values())
    )
    if pagelocked and not locked:
        home.machine.problem(f"{call}: the host array is not, or no longer, page-locked")
    return flat.reshape(-1).view(np.uint8)


def _mem_get_info(home: Any) -> Any:
    home.current("cuMemGetInfo")
    machine = home.machine
    return machine.gpu.memory_bytes - machine.used_bytes(), machine.gpu.memory_bytes


CLASSES = {
    "DeviceAllocation": DeviceAllocation,
    "PagelockedHostAllocation": PagelockedHostAllocation,
}
FUNCTIONS: Dict[str, Callable[..., Any]] = {
    "mem_get_info": _mem_get_info,
    "mem_alloc": _mem_alloc,
    "pagelocked_empty": _pagelocked_empty,
    "memcpy_htod_async": _copy_in,
    "memcpy_dtoh_async": _copy_out,
    "memcpy_htod": _copy_in_now,
    "memcpy_dtoh": _copy_out_now,
}

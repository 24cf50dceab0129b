"""Which NVIDIA GPUs have tensor cores, and which compute fast in fp16 and int8.

All by compute capability.

Sources: the CUDA C++ Programming Guide, "Arithmetic Instructions" (results a clock and
multiprocessor: an sm_61 gives 2 in fp16 against 128 in fp32, an sm_62 gives 256 against 128), and
the hardware table of TensorRT's support matrix (int8 needs the four-way dot product dp4a).
"""

from typing import Tuple

ComputeCapability = Tuple[int, int]

# From Volta on every GPU has both, and tensor cores (but for the GTX 16 cards among sm_75).
_FIRST_WITH_BOTH = (7, 0)
_FAST_FP16_BEFORE = {(5, 3), (6, 0), (6, 2)}  # Jetson TX1 and Nano; Tesla P100; Jetson TX2
_INT8_BEFORE = {(6, 1)}  # Titan Xp and the other Pascal cards, Tesla P4 and P40


def has_fast_fp16(capability: ComputeCapability) -> bool:
    """Tell whether this GPU, such as (6, 2), computes in fp16 at least as fast as in fp32."""
    return capability >= _FIRST_WITH_BOTH or capability in _FAST_FP16_BEFORE


def has_int8(capability: ComputeCapability) -> bool:
    """Tell whether TensorRT has int8 for this GPU, such as (6, 2)."""
    return capability >= _FIRST_WITH_BOTH or capability in _INT8_BEFORE


def has_tensor_cores(capability: ComputeCapability) -> bool:
    """Tell whether this GPU, such as (6, 2), has units that multiply matrices."""
    return capability >= _FIRST_WITH_BOTH


def sm_name(capability: ComputeCapability) -> str:
    """Return NVIDIA's short name: ``sm_62`` for (6, 2)."""
    return "sm_{}{}".format(*capability)

"""From an ONNX file to a serialized engine, in every era."""

import logging
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

from clipedge.jetson.errors import BackendError, ModelFileError, UsageError
from clipedge.jetson.onnx_metadata import read_onnx_nodes
from clipedge.jetson.trt_api.native import make_monitor, member_name
from clipedge.jetson.trt_api.release import TENSORRT_RTX, Era, Release

# What a TX2 can spare beside a camera and a desktop. TensorRT's own default is all the memory of
# the GPU, and before 8.4 too little for the fastest convolutions.
BOARD_WORKSPACE_BYTES = 1 << 30

Progress = Callable[[str, int, int], bool]  # phase, steps done, steps in all; False: stop building

_log = logging.getLogger(__name__)


class BuildRequest(NamedTuple):
    """What to build.

    Attributes:
        onnx: content of the ONNX file.
        batches: batch sizes; each gets an optimization profile of its own, in this order.
        fp16: let TensorRT compute in fp16 where that is faster. Without effect in the TYPED era,
            where the types in the ONNX file decide.
        fp32_layers: ONNX nodes to keep in fp32 while ``fp16``: those of this name, and those
            that a rewriting derived from them (``NAME/...``).
        workspace_bytes: scratch memory an engine may use; None: as much as TensorRT likes, before
            8.5 1 GiB.
        timing_cache: of an earlier build, or empty.
        targets: compute capabilities to build for; empty: this machine's GPU. RTX only.
    """

    onnx: bytes
    batches: Tuple[int, ...]
    fp16: bool = False
    fp32_layers: Tuple[str, ...] = ()
    workspace_bytes: Optional[int] = None
    timing_cache: bytes = b""
    targets: Tuple[Tuple[int, int], ...] = ()


class NetworkLayer(NamedTuple):
    """A layer as TensorRT's parser made it, before the compiler fuses layers.

    ``precision`` and ``shape`` are its output's; -1 where the shape is dynamic.
    """

    name: str
    kind: str  # such as CONVOLUTION
    precision: str  # such as FLOAT
    shape: Tuple[int, ...]


class BuiltEngine(NamedTuple):
    """A serialized engine, and the timing cache as it is after the build."""

    plan: bytes
    timing_cache: bytes


def build(release: Release, request: BuildRequest, progress: Optional[Progress]) -> BuiltEngine:
    """Compile an ONNX file; ``TensorRT.build`` documents it."""
    builder = release.create(lambda: release.module.Builder(release.logger))
    network = builder.create_network(_network_flags(release))
    # The parser owns weights that the network points to until the engine is built.
    parser = _parse(release, network, request.onnx)
    config = builder.create_builder_config()
    _configure(release, config, request)
    _add_profiles(release, builder, network, config, request.batches)
    _keep_fp32(release, network, config, request)
    cache = _attach_timing_cache(release, config, request.timing_cache)
    monitor = None
    if progress is not None and release.since(10):
        # Kept by name until the build ends: the config alone does not keep it alive.
        monitor = make_monitor(release.module, progress)
        config.progress_monitor = monitor
    release.logger.errors.clear()
    plan = builder.build_serialized_network(network, config)
    stopped = monitor is not None and monitor.stopped
    del parser, monitor
    if plan is None:
        reason = release.logger.reason()
        advice = "Try another --graph form or --precision"
        if stopped:
            advice = "It was stopped"
        elif "not supported" not in reason:  # it may be for want of memory
            advice += ", a larger --workspace or a smaller --batch"
        raise BackendError(f"{release} could not build the engine: {reason}. {advice}.")
    return BuiltEngine(bytes(plan), b"" if cache is None else bytes(cache.serialize()))


def network_layers(release: Release, onnx: bytes) -> List[NetworkLayer]:
    """Parse an ONNX file and list its layers; ``TensorRT.network_layers`` documents it."""
    builder = release.create(lambda: release.module.Builder(release.logger))
    network = builder.create_network(_network_flags(release))
    parser = _parse(release, network, onnx)
    layers = [_network_layer(network.get_layer(index)) for index in range(network.num_layers)]
    del parser
    return layers


def belongs_to(layer: str, node: str) -> bool:
    """Return whether a TensorRT layer is the ONNX node's, or of nodes derived from it.

    The parser names a layer after its node and appends to names that occur twice.
    """
    return layer == node or layer.startswith((node + "/", node + "_", node + " "))


def _network_flags(release: Release) -> int:
    # From 10.0 on every network has an explicit batch.
    if release.since(10):
        return 0
    return 1 << int(release.module.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)


def _parse(release: Release, network: Any, onnx: bytes) -> Any:
    release.logger.errors.clear()
    parser = release.module.OnnxParser(network, release.logger)
    if parser.parse(onnx):
        return parser
    problems = [parser.get_error(index) for index in range(parser.num_errors)]
    reasons = [_parser_problem(release, problem, onnx) for problem in problems]
    raise ModelFileError(
        "{} refuses the ONNX file: {}. Export it again with --opset 13 or lower, or choose "
        "another --graph form.".format(release, "; ".join(reasons) or release.logger.reason())
    )


def _parser_problem(release: Release, problem: Any, onnx: bytes) -> str:
    """Return node, operator and reason."""
    reason = str(problem.desc()).strip().rstrip(".")
    if release.since(10):
        name, operator = problem.node_name(), problem.node_operator()
    else:
        # Before 10.0 an error has only the node's place in the file.
        nodes, index = read_onnx_nodes(onnx), problem.node()
        name, operator = nodes[index] if 0 <= index < len(nodes) else ("", "")
    return f"node '{name}' ({operator}): {reason}" if name or operator else reason


def _configure(release: Release, config: Any, request: BuildRequest) -> None:
    module = release.module
    # What is called fp32 shall be fp32: TF32 rounds to ten bits, and is on by default.
    config.clear_flag(module.BuilderFlag.TF32)
    if release.era == Era.BINDINGS:
        config.max_workspace_size = request.workspace_bytes or BOARD_WORKSPACE_BYTES
    elif request.workspace_bytes is not None:
        config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, request.workspace_bytes)
    if request.fp16 and not release.strongly_typed:
        config.set_flag(module.BuilderFlag.FP16)
    # For the layer view; it costs names in the engine, no speed.
    verbosity = module.ProfilingVerbosity
    config.profiling_verbosity = verbosity.DETAILED if release.since(8, 2) else verbosity.VERBOSE
    if request.targets:
        _set_targets(release, config, request.targets)


def check_targets(release: Release, targets: Sequence[Tuple[int, int]]) -> None:
    """Refuse GPUs to build for; ``TensorRT.check_targets`` documents it."""
    if targets and not release.builds_without_gpu:
        raise UsageError(
            f"{release} builds for this machine's GPU alone; --target needs --builder tensorrt-rtx."
        )
    for major, minor in targets:
        known = release.module.ComputeCapability.__members__
        if f"SM{major}{minor}" not in known:
            offered = ", ".join("sm_" + key[2:] for key in known if key.startswith("SM"))
            raise UsageError(
                f"{release} has no target sm_{major}{minor}; it has {offered}. For another GPU "
                "build on the machine that has it: export-engine --onnx FILE"
            )


def _set_targets(release: Release, config: Any, targets: Sequence[Tuple[int, int]]) -> None:
    check_targets(release, targets)
    known = release.module.ComputeCapability.__members__
    config.num_compute_capabilities = len(targets)
    for index, (major, minor) in enumerate(targets):
        config.set_compute_capability(known[f"SM{major}{minor}"], index)


def _add_profiles(
    release: Release, builder: Any, network: Any, config: Any, batches: Sequence[int]
) -> None:
    clips = network.get_input(0)
    if clips.shape[0] not in (-1, *batches) or (clips.shape[0] != -1 and len(batches) > 1):
        raise ModelFileError(
            f"The ONNX file takes batches of {clips.shape[0]} alone; export it again with "
            "export-engine, which leaves the batch size open."
        )
    for batch in batches:
        shape = (batch, *tuple(clips.shape)[1:])
        profile = builder.create_optimization_profile()
        profile.set_shape(clips.name, shape, shape, shape)
        config.add_optimization_profile(profile)


def _keep_fp32(release: Release, network: Any, config: Any, request: BuildRequest) -> None:
    if release.strongly_typed or not (request.fp16 and request.fp32_layers):
        return
    flag, fp32 = release.module.BuilderFlag, release.module.DataType.FLOAT
    config.set_flag(flag.OBEY_PRECISION_CONSTRAINTS if release.since(8, 2) else flag.STRICT_TYPES)
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if not any(belongs_to(layer.name, name) for name in request.fp32_layers):
            continue
        # A layer of integers, such as the shape of a tensor, cannot be told to be of floats.
        floats = [at for at in range(layer.num_outputs) if layer.get_output(at).dtype == fp32]
        if floats:
            layer.precision = fp32
        for output in floats:
            layer.set_output_type(output, fp32)


def _attach_timing_cache(release: Release, config: Any, content: bytes) -> Any:
    if release.package == TENSORRT_RTX:
        return None  # it times nothing while it builds
    cache = config.create_timing_cache(content)
    if cache is None or not config.set_timing_cache(cache, False):
        # Of another release or GPU: worth nothing, and no reason to fail.
        _log.info("The timing cache is of another TensorRT or GPU; a new one is started.")
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _network_layer(layer: Any) -> NetworkLayer:
    output = layer.get_output(0)
    return NetworkLayer(
        layer.name, member_name(layer.type), member_name(output.dtype), tuple(output.shape)
    )

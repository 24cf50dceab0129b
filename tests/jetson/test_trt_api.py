"""One adapter for every TensorRT: build, open, run, profile, inspect, on stand-ins.

Each stand-in has the members of its list and no others, so that code which wants a member of
another release fails here. The last test goes the other way: it takes each member away and wants
to see that fail, so that the lists have nothing that the code does not need.
"""

import copy
import json
import warnings

import numpy as np
import pytest
from stand_ins import GPU_OF, NO_GPU, RELEASES, TITAN_XP, TX2, Fault, board, member_lists

from clipedge.jetson import trt_api
from clipedge.jetson.cuda import CudaSession
from clipedge.jetson.errors import BackendError, ModelFileError, UsageError
from clipedge.jetson.trt_api import BuildRequest

WITH_FP16_FLAG = ("8.0.1", "8.2.1", "8.6.1", "10.16")
STRONGLY_TYPED = ("11.1", "rtx")
BATCHES = (1, 3)

every_release = pytest.mark.parametrize("key", sorted(RELEASES))


def board_of(key, **options):
    """A board with this release and a GPU that it serves."""
    options.setdefault("gpu", GPU_OF[key])
    return board(key, **options)


def load(key):
    return trt_api.load(RELEASES[key].package)


def infer(trt, plan, clips, report=None):
    """Logits of an engine for one batch of clips; everything is closed again."""
    with CudaSession() as session, session.current(), trt.open_engine(plan) as engine:
        profile = engine.batches.index(len(clips))
        execution = engine.create_execution(profile, session.stream_handle)
        try:
            return run_once(session, engine, execution, clips, report)
        finally:
            execution.close()


def run_once(session, engine, execution, clips, report=None):
    classes = engine.tensors[1].shape[-1]
    hosts = [
        session.pinned_buffer(shape, np.float32) for shape in (clips.shape, (len(clips), classes))
    ]
    devices = [session.device_buffer(host.array.shape, np.float32) for host in hosts]
    execution.bind({"clips": devices[0].address, "logits": devices[1].address})
    if report is not None:
        execution.profile_with(report)
    hosts[0].array[:] = clips
    session.copy_to_device(hosts[0], devices[0])
    execution.enqueue(session.stream_handle)
    session.copy_to_host(devices[1], hosts[1])
    session.synchronize()
    return np.array(hosts[1].array)


def expected(onnx, clips):
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    return session.run(None, {"clips": clips})[0]


def edited(onnx, change):
    """An ONNX file after `change(model)`."""
    package = pytest.importorskip("onnx", reason="onnx, which changes the test model, is missing")
    model = package.load_model_from_string(onnx)
    change(model)
    return model.SerializeToString()


def _to_half(model):
    """Compute all but the subtraction of the mean in fp16, as the strongly typed era is told."""
    from onnx import TensorProto, helper, numpy_helper

    for initializer in model.graph.initializer:
        if initializer.name != "mean":
            value = numpy_helper.to_array(initializer).astype(np.float16)
            initializer.CopyFrom(numpy_helper.from_array(value, initializer.name))
    half, single = TensorProto.FLOAT16, TensorProto.FLOAT
    nodes = list(model.graph.node)
    nodes[1].input[0], nodes[-1].output[0] = "centred_half", "logits_half"
    into = helper.make_node("Cast", ["centred"], ["centred_half"], name="cast_in", to=half)
    out = helper.make_node("Cast", ["logits_half"], ["logits"], name="cast_out", to=single)
    del model.graph.node[:]
    model.graph.node.extend([nodes[0], into, *nodes[1:], out])


@pytest.fixture(scope="session")
def onnx(tiny_model):
    return tiny_model.read_bytes()


@pytest.fixture(scope="session")
def clips(tiny_spec, clip_maker):
    return clip_maker(tiny_spec, 3)


# --- Finding an installation ----------------------------------------------------------------------


def test_packages_are_found_without_importing_them():
    with board("8.2.1", check=False):
        import sys

        assert trt_api.installed_packages() == ["tensorrt"]
        assert "tensorrt" not in sys.modules
    with board("rtx"):
        assert trt_api.installed_packages() == ["tensorrt_rtx"]
    with board(None):
        assert trt_api.installed_packages() == []


@pytest.mark.parametrize(
    ("package", "advice"),
    [("tensorrt", "JetPack"), ("tensorrt_rtx", "pip install tensorrt-rtx-cu12")],
)
def test_a_missing_package_is_one_clear_error_with_the_way_to_install_it(package, advice):
    with board(None), pytest.raises(BackendError, match="is not installed") as caught:
        trt_api.load(package)
    assert advice in str(caught.value)


def test_an_unknown_package_is_a_wrong_call():
    with pytest.raises(UsageError, match="tensorrt_rtx"):
        trt_api.load("tensorrt-rtx")


@every_release
def test_a_release_knows_its_version_and_era(key):
    with board_of(key):
        trt = load(key)
    numbers = tuple(int(part) for part in RELEASES[key].version.split("."))
    assert trt.version == numbers
    assert trt.strongly_typed == (key in STRONGLY_TYPED)
    assert trt.builds_without_gpu == (key == "rtx")


@pytest.mark.parametrize("key", ["8.0.1", "8.2.1", "8.6.1", "10.16", "11.1"])
def test_without_a_gpu_building_fails_with_the_reason(key, onnx):
    with board_of(key, gpu=NO_GPU), pytest.raises(BackendError, match="CUDA initialization"):
        load(key).build(BuildRequest(onnx, (1,)))


# --- Building and running -------------------------------------------------------------------------


@every_release
@pytest.mark.parametrize("batch", BATCHES)
def test_an_engine_answers_as_onnx_runtime(key, batch, onnx, clips):
    with board_of(key):
        trt = load(key)
        plan = trt.build(BuildRequest(onnx, BATCHES)).plan
        logits = infer(trt, plan, clips[:batch])
    np.testing.assert_allclose(logits, expected(onnx, clips[:batch]), rtol=1e-6)


@every_release
def test_an_engine_has_one_profile_for_each_batch_size_in_order(key, onnx):
    with board_of(key):
        trt = load(key)
        plan = trt.build(BuildRequest(onnx, (3, 1, 8))).plan
        with CudaSession() as session, session.current(), trt.open_engine(plan) as engine:
            assert engine.batches == (3, 1, 8)
            assert engine.device_memory_bytes > 0
            clips, logits = engine.tensors
    assert (clips.name, clips.is_input, clips.dtype) == ("clips", True, "float32")
    assert clips.shape == (-1, 3, 4, 16, 16)
    assert (logits.name, logits.is_input, logits.dtype) == ("logits", False, "float32")
    assert logits.shape == (-1, 5)


@every_release
def test_executions_of_all_batch_sizes_live_side_by_side(key, onnx, clips):
    with board_of(key):
        trt = load(key)
        plan = trt.build(BuildRequest(onnx, BATCHES)).plan
        with CudaSession() as session, session.current(), trt.open_engine(plan) as engine:
            # The second first: it must not lean on the profile that a new context starts with.
            order = [engine.batches.index(batch) for batch in (3, 1)]
            runs = [engine.create_execution(one, session.stream_handle) for one in order]
            for run, batch in zip(runs, (3, 1)):
                logits = run_once(session, engine, run, clips[:batch])
                np.testing.assert_allclose(logits, expected(onnx, clips[:batch]), rtol=1e-6)
            for run in runs:
                run.close()


@every_release
def test_a_static_batch_is_refused_where_another_is_wanted(key, tmp_path, model_writer):
    onnx = model_writer(tmp_path / "static.onnx", batch=2).read_bytes()
    with board_of(key), pytest.raises(ModelFileError, match="batches of 2 alone"):
        load(key).build(BuildRequest(onnx, (1,)))


@every_release
def test_all_that_is_loaded_of_a_release_hears_the_same_log(key, onnx):
    """TensorRT tells the first logger of the process alone."""
    with board_of(key):
        first, second = load(key), load(key)
        assert first.logger is second.logger


@pytest.mark.parametrize("key", WITH_FP16_FLAG)
def test_fp16_is_asked_for_by_flag_and_shows_in_the_numbers(key, onnx, clips):
    with board_of(key):
        trt = load(key)
        plan = trt.build(BuildRequest(onnx, BATCHES, fp16=True)).plan
        logits = infer(trt, plan, clips)
    reference = expected(onnx, clips)
    np.testing.assert_array_equal(logits, reference.astype(np.float16).astype(np.float32))
    assert (logits != reference).any()


@pytest.mark.parametrize("key", STRONGLY_TYPED)
def test_fp16_comes_with_the_file_where_the_types_are_its_own(key, onnx, clips):
    half = edited(onnx, _to_half)
    with board_of(key) as here:
        trt = load(key)
        here.tensorrt.fault = Fault(("conv",), "inf")
        assert np.isfinite(
            infer(trt, trt.build(BuildRequest(onnx, BATCHES, fp16=True)).plan, clips)
        ).all()
        assert np.isinf(infer(trt, trt.build(BuildRequest(half, BATCHES)).plan, clips)[:, 0]).all()
        here.tensorrt.fault = None
        logits = infer(trt, trt.build(BuildRequest(half, BATCHES)).plan, clips)
    np.testing.assert_allclose(logits, expected(half, clips), rtol=1e-6)


@pytest.mark.parametrize("key", WITH_FP16_FLAG)
@pytest.mark.parametrize(
    ("held", "mended"),
    [((), False), (("gemm",), False), (("conv", "gemm"), True), (("con",), False)],
)
def test_layers_held_in_fp32_are_computed_in_fp32(key, held, mended, onnx, clips):
    with board_of(key) as here:
        here.tensorrt.fault = Fault(("conv",), "nan")
        trt = load(key)
        plan = trt.build(BuildRequest(onnx, BATCHES, fp16=True, fp32_layers=held)).plan
        logits = infer(trt, plan, clips)
    assert np.isfinite(logits).all() == mended


@pytest.mark.parametrize("key", WITH_FP16_FLAG)
def test_a_layer_held_in_fp32_takes_along_what_was_derived_from_it(key, onnx, clips):
    def rename(model):
        model.graph.node[1].name = "conv/taps"

    with board_of(key) as here:
        here.tensorrt.fault = Fault(("conv/taps",), "nan")
        trt = load(key)
        request = BuildRequest(edited(onnx, rename), BATCHES, fp16=True, fp32_layers=("conv",))
        assert np.isfinite(infer(trt, trt.build(request).plan, clips)).all()


@pytest.mark.parametrize("key", WITH_FP16_FLAG)
def test_a_layer_of_integers_is_not_held_in_fp32(key, onnx, clips):
    """TensorRT refuses to compute the shape of a tensor, say, in a float type."""

    def add_shape(model):
        import onnx

        source = model.graph.node[1].output[0]
        shape = onnx.helper.make_node("Shape", [source], ["sizes"], "conv/shape")
        model.graph.node.insert(2, shape)

    with board_of(key) as here:
        here.tensorrt.fault = Fault(("conv",), "nan")
        trt = load(key)
        request = BuildRequest(edited(onnx, add_shape), BATCHES, fp16=True, fp32_layers=("conv",))
        assert np.isfinite(infer(trt, trt.build(request).plan, clips)).all()


@every_release
def test_the_workspace_asked_for_is_the_one_given(key, onnx):
    with board_of(key) as here:
        trt = load(key)
        here.tensorrt.workspace_needed_bytes = 1 << 29
        assert trt.build(BuildRequest(onnx, BATCHES)).plan
        with pytest.raises(BackendError, match="insufficient workspace"):
            trt.build(BuildRequest(onnx, BATCHES, workspace_bytes=1 << 28))


@pytest.mark.parametrize("key", ["8.0.1", "8.2.1", "8.6.1", "10.16", "11.1"])
def test_a_timing_cache_grows_and_saves_the_next_build_its_measuring(key, onnx):
    with board_of(key) as here:
        trt = load(key)
        first = trt.build(BuildRequest(onnx, BATCHES))
        measured = here.tensorrt.timing_cache_misses
        assert measured > 0
        assert here.tensorrt.timing_cache_hits == 0
        second = trt.build(BuildRequest(onnx, BATCHES, timing_cache=first.timing_cache))
        assert here.tensorrt.timing_cache_misses == measured
        assert here.tensorrt.timing_cache_hits == measured
        third = trt.build(BuildRequest(onnx, (1,), timing_cache=second.timing_cache))
    assert second.timing_cache == first.timing_cache
    assert len(third.timing_cache) > len(second.timing_cache)


@pytest.mark.parametrize("spoilt", ["damaged", "of another release", "of another GPU"])
def test_a_timing_cache_of_no_use_is_replaced(spoilt, onnx):
    other_release, other_gpu = ("8.6.1", TX2), ("8.2.1", TX2._replace(name="NVIDIA Xavier"))
    key, gpu = {"of another release": other_release, "of another GPU": other_gpu}.get(
        spoilt, ("8.2.1", TX2)
    )
    with board(key, gpu=gpu):
        cache = load(key).build(BuildRequest(onnx, (1,))).timing_cache
    if spoilt == "damaged":
        cache = cache[:-7]
    with board_of("8.2.1") as here:
        built = load("8.2.1").build(BuildRequest(onnx, (1,), timing_cache=cache))
        assert here.tensorrt.timing_cache_hits == 0
    assert built.timing_cache not in (b"", cache)


def test_rtx_which_times_nothing_has_no_timing_cache(onnx):
    with board_of("rtx"), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load("rtx").build(BuildRequest(onnx, (1,))).timing_cache == b""


@pytest.mark.parametrize("key", ["10.16", "11.1", "rtx"])
def test_progress_is_told_and_can_stop_a_build(key, onnx):
    told = {}

    def progress(phase, done, total):
        told.setdefault(phase, []).append((done, total))
        return True

    with board_of(key):
        trt = load(key)
        trt.build(BuildRequest(onnx, (1,)), progress)
        assert len(told) > 1
        for steps in told.values():
            assert steps == [(step + 1, len(steps)) for step in range(len(steps))]
        with pytest.raises(BackendError, match="Build canceled"):
            trt.build(BuildRequest(onnx, (1,)), lambda phase, done, total: done < 2)


@pytest.mark.parametrize("key", ["10.16", "11.1"])
def test_a_progress_report_that_fails_stops_the_build_and_not_the_process(key, onnx):
    def fail(phase, done, total):
        raise KeyboardInterrupt

    ended = pytest.raises((BackendError, KeyboardInterrupt))
    with board_of(key), ended:
        load(key).build(BuildRequest(onnx, (1,)), fail)


def test_engines_are_built_for_other_gpus_without_one(onnx):
    with board_of("rtx", gpu=NO_GPU):
        trt = load("rtx")
        plan = trt.build(BuildRequest(onnx, (1,), targets=((7, 5), (8, 6)))).plan
        with pytest.raises(BackendError, match="CUDA driver version is insufficient"):
            trt.open_engine(plan)
        with pytest.raises(UsageError, match="no target sm_62; it has sm_75"):
            trt.build(BuildRequest(onnx, (1,), targets=((6, 2),)))
    with board_of("rtx"), CudaSession() as session, session.current():
        load("rtx").open_engine(plan).close()


def test_a_target_is_refused_where_only_this_gpu_is_built_for(onnx):
    with board_of("8.2.1"), pytest.raises(UsageError, match="--builder tensorrt-rtx"):
        load("8.2.1").build(BuildRequest(onnx, (1,), targets=((8, 6),)))


def test_a_gpu_that_the_release_does_not_serve_is_named(onnx):
    with board("10.16", gpu=TX2), pytest.raises(BackendError, match="SM 62 is not supported"):
        load("10.16").build(BuildRequest(onnx, (1,)))


# --- What the parser refuses ----------------------------------------------------------------------


@every_release
def test_a_refused_node_is_named_with_its_operator_and_the_reason(key, onnx):
    def break_two(model):
        model.graph.node[1].op_type = "GroupNormalization"
        model.graph.node[2].op_type = "Mystery"

    with board_of(key), pytest.raises(ModelFileError) as caught:
        load(key).build(BuildRequest(edited(onnx, break_two), (1,)))
    text = str(caught.value)
    assert "node 'conv' (GroupNormalization): " in text
    assert "Plugin not found" in text
    # The older parsers stop at the first.
    assert ("node 'relu' (Mystery)" in text) == (not key.startswith("8."))


@every_release
def test_bytes_that_are_no_model_are_refused_with_the_parsers_words(key, onnx):
    with board_of(key):
        for wrong in (b"junk", onnx[: len(onnx) // 2]):
            with pytest.raises(ModelFileError, match="Failed to parse the ONNX model"):
                load(key).build(BuildRequest(wrong, (1,)))


def test_an_opset_that_8_2_does_not_know_is_refused(onnx):
    def newer(model):
        model.opset_import[0].version = 14

    with board_of("8.2.1"), pytest.raises(ModelFileError, match="unsupported opset 14"):
        load("8.2.1").build(BuildRequest(edited(onnx, newer), (1,)))


@every_release
def test_layers_are_listed_without_building(key, onnx):
    with board_of(key) as here:
        layers = {layer.name: layer for layer in load(key).network_layers(onnx)}
        assert here.tensorrt.builds == 0
    assert layers["conv"].kind == "CONVOLUTION"
    assert layers["conv"].precision == "FLOAT"
    assert layers["conv"].shape == (-1, 8, 4, 8, 8)


# --- Engines that do not open ---------------------------------------------------------------------


@every_release
def test_a_damaged_engine_does_not_open_and_the_reason_is_told(key, onnx):
    with board_of(key):
        trt = load(key)
        plan = trt.build(BuildRequest(onnx, (1,))).plan
        middle = len(plan) // 2
        flipped = plan[:middle] + bytes([plan[middle] ^ 1]) + plan[middle + 1 :]
        with CudaSession() as session, session.current():
            for wrong in (b"", plan[:middle], plan[:-1], flipped):
                with pytest.raises(BackendError, match="Serialization"):
                    trt.open_engine(wrong)


def test_an_engine_of_another_release_or_gpu_does_not_open(onnx):
    with board_of("8.6.1"):
        other_release = load("8.6.1").build(BuildRequest(onnx, (1,))).plan
    with board("8.2.1", gpu=TITAN_XP):
        other_gpu = load("8.2.1").build(BuildRequest(onnx, (1,))).plan
    with board_of("8.2.1"), CudaSession() as session, session.current():
        with pytest.raises(BackendError, match="Version tag does not match"):
            load("8.2.1").open_engine(other_release)
        with pytest.raises(BackendError, match=r"expecting compute 6\.2 got compute 6\.1"):
            load("8.2.1").open_engine(other_gpu)


# --- The layers of an engine ----------------------------------------------------------------------


@every_release
def test_each_layers_time_is_reported(key, onnx, clips):
    times = {}
    with board_of(key):
        trt = load(key)
        plan = trt.build(BuildRequest(onnx, BATCHES)).plan
        infer(trt, plan, clips, times.__setitem__)
    assert "conv + relu" in times
    assert all(ms > 0 for ms in times.values())


def test_8_0_has_no_inspector_and_says_so(onnx):
    with board_of("8.0.1"):
        trt = load("8.0.1")
        plan = trt.build(BuildRequest(onnx, (1,))).plan
        with CudaSession() as session, session.current():
            engine = trt.open_engine(plan)
            with pytest.raises(BackendError, match=r"no engine inspector; it came with 8\.2"):
                engine.layer_information()
            engine.close()


@pytest.mark.parametrize("key", sorted(set(RELEASES) - {"8.0.1"}))
def test_the_inspector_tells_layers_with_their_precision(key, onnx):
    with board_of(key):
        trt = load(key)
        request = BuildRequest(onnx, BATCHES, fp16=True, fp32_layers=("gemm",))
        plan = trt.build(request).plan
        with CudaSession() as session, session.current(), trt.open_engine(plan) as engine:
            told = json.loads(engine.layer_information())
    layers = {layer["Name"]: layer["Outputs"][0]["Format/Datatype"] for layer in told["Layers"]}
    assert ("FP16" in layers["conv + relu"]) == (key in WITH_FP16_FLAG)
    assert "FP32" in layers["gemm"]


# --- Every member is needed -----------------------------------------------------------------------


def use_everything(key, onnx, broken, clips, members):
    """All that the code does with one release: any member that is missing makes this fail."""
    with board_of(key, members=members) as here:
        trt = load(key)
        told = []
        tell = lambda phase, done, total: told.append(total) is None  # noqa: E731
        targets = ((7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1)) if key == "rtx" else ()
        here.tensorrt.fault = Fault(("conv",), "nan")
        here.tensorrt.workspace_needed_bytes = 1 << 29
        request = BuildRequest(onnx, BATCHES, True, ("conv",), 1 << 30, targets=targets)
        built = trt.build(request, tell)
        again = trt.build(request._replace(timing_cache=built.timing_cache), tell)
        assert key == "rtx" or here.tensorrt.timing_cache_hits > 0
        assert key.startswith("8.") or min(told) > 0
        assert {layer.kind for layer in trt.network_layers(onnx)} > {"CONVOLUTION"}
        with pytest.raises(ModelFileError, match=r"'conv' \(Mystery\): .*Plugin not found"):
            trt.build(request._replace(onnx=broken))
        with CudaSession() as session, session.current():
            with pytest.raises(BackendError, match="Serialization"):
                trt.open_engine(again.plan[:-1])
            with trt.open_engine(again.plan) as engine:
                assert engine.device_memory_bytes > 0
                if key != "8.0.1":  # the inspector came with 8.2
                    layers = json.loads(engine.layer_information())["Layers"]
                    assert {layer["Name"] for layer in layers} > {"gemm"}
                profile = engine.batches.index(len(clips))
                execution = engine.create_execution(profile, session.stream_handle)
                times = {}
                if key == "8.0.1":  # it runs in another way for a profiler
                    run_once(session, engine, execution, clips)
                logits = run_once(session, engine, execution, clips, times.__setitem__)
                execution.close()
        assert "conv + relu" in times
        np.testing.assert_allclose(logits, expected_logits(onnx, clips), rtol=2e-3)


_EXPECTED = {}


def expected_logits(onnx, clips):
    """`expected`, computed once: the removal test asks for it some three hundred times."""
    if onnx not in _EXPECTED:
        _EXPECTED[onnx] = expected(onnx, clips)
    return _EXPECTED[onnx]


def unneeded(lists, key, use):
    """The members of lists[key] without which `use(lists)` succeeds all the same."""
    found = []
    for name, members in lists[key].items():
        for member in members:
            fewer = copy.deepcopy(lists)
            fewer[key][name].remove(member)
            try:
                use(fewer)
            except Exception:  # whatever it is, somebody sees it
                continue
            found.append(f"{name}.{member}")
    return found


@every_release
def test_every_listed_member_is_needed(key, onnx, clips):
    def mystery(model):
        model.graph.node[1].op_type = "Mystery"

    broken = edited(onnx, mystery)
    use_everything(key, onnx, broken, clips, member_lists())
    assert (
        unneeded(member_lists(), key, lambda lists: use_everything(key, onnx, broken, clips, lists))
        == []
    )

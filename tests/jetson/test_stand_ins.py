"""The stand-ins for TensorRT and pycuda: are they what they stand for, and do they see mistakes?

A stand-in that takes what the real one refuses makes every test on it worthless.
"""

import copy
import gc
import importlib
import json
import os
import signal
import threading

import numpy as np
import pytest
from stand_ins import (
    GPU_OF,
    LIBCUDA_MISSING,
    NO_GPU,
    RELEASES,
    RTX_3060,
    TX2,
    board,
    member_lists,
)

from clipedge.jetson import trt_api
from clipedge.jetson.cuda import CudaSession, gpu_facts
from clipedge.jetson.errors import BackendError, ModelFileError
from clipedge.jetson.trt_api import BuildRequest

BOTH_APIS = pytest.mark.parametrize("key", ["8.2.1", "10.16"])

# Releases whose API the code takes for that of the release stood in for.
ALSO_OF = {
    "8.0.1": ["8.0.1"],
    "8.2.1": ["8.2.1", "8.4.3"],
    "8.6.1": ["8.5.3", "8.6.1"],
    "10.16": ["10.0.1", "10.3.0", "10.7.0", "10.16"],
    "11.1": ["11.0", "11.1"],
    "rtx": ["11.0", "11.1"],
}
# Real, and not in the reference: it was read from declarations of another form. NVIDIA's Python
# documentation has ILogger, `test_the_rtx_list_is_of_the_real_package` sees it in a real one.
UNLISTED = {"module.__version__", "module.ILogger", "ILogger.log"}
UNLISTED_OF_RTX = {
    "module.ComputeCapability",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
}


def listed(members):
    """Every member of a list as "Class.member"."""
    return {f"{cls}.{member}" for cls, names in members.items() for member in names}


# --- The lists ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "release"), [(k, r) for k in ALSO_OF for r in ALSO_OF[k]])
def test_the_list_of_a_release_has_nothing_that_its_bindings_lack(key, release, shared):
    reference = json.loads((shared / "reference" / "tensorrt_python_api.json").read_text())
    real = listed(reference[release]) | {f"module.{cls}" for cls in reference[release]}
    ours = listed(member_lists()[key]) - UNLISTED
    if key == "rtx":
        ours -= UNLISTED_OF_RTX
        ours = {name for name in ours if not name.startswith("ComputeCapability.")}
    assert ours <= real
    assert len(ours) > 40


def test_the_rtx_list_is_of_the_real_package():
    real = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    for cls, names in member_lists()["rtx"].items():
        owner = real if cls == "module" else getattr(real, cls)
        assert [name for name in names if not hasattr(owner, name)] == [], cls


def test_the_list_of_pycuda_has_nothing_that_pycuda_lacks(shared):
    reference = json.loads((shared / "reference" / "pycuda_api.json").read_text())["api"]
    names = {name.rpartition("pycuda.driver.")[2]: value for name, value in reference.items()}
    names["module"] = names.pop("pycuda.driver")
    assert listed(member_lists()["pycuda"]) <= listed(names)


def use_pycuda(members):
    """All that the code does with pycuda: any member that is missing makes this fail."""
    with board("8.2.1", members=members):
        assert gpu_facts()[:4] == (TX2.name, (6, 2), TX2.memory_bytes, True)
        with CudaSession() as session:
            assert session.facts.cuda_version == "10.2"
            with session.current():
                pinned, device = (
                    make((3, 5), np.float32)
                    for make in (session.pinned_buffer, session.device_buffer)
                )
                mapped = session.mapped_buffer((3, 5), np.float32)
                assert session.stream_handle and mapped.address and device.address
                events = [session.event(), session.event()]
                pinned.array[:] = 7.0
                session.record(events[0])
                session.copy_to_device(pinned, device)
                session.copy_to_host(device, mapped)
                session.record(events[1])
                session.synchronize()
                assert (mapped.array == 7.0).all()
                assert session.elapsed_ms(*events) > 0
                with pytest.raises(BackendError, match="memory left"):
                    session.device_buffer((1 << 40,), np.float32)
                session.free(pinned)
    with board("8.2.1", NO_GPU, members=members), pytest.raises(BackendError, match="no CUDA-cap"):
        gpu_facts()


def test_every_listed_member_of_pycuda_is_needed():
    use_pycuda(member_lists())
    needless = []
    for name, members in member_lists()["pycuda"].items():
        for member in members:
            fewer = copy.deepcopy(member_lists())
            fewer["pycuda"][name].remove(member)
            try:
                use_pycuda(fewer)
            except Exception:  # whatever it is, somebody sees it
                continue
            needless.append(f"{name}.{member}")
    assert needless == []


# --- The limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", sorted(RELEASES))
def test_what_is_not_listed_can_be_neither_read_nor_set(key):
    with board(key, GPU_OF[key]) as here:
        trt = trt_api.load(RELEASES[key].package)
        builder = trt.module.Builder(trt.logger)
        config = builder.create_builder_config()
        for thing in (trt.module, builder, config, config.profiling_verbosity, trt.module.Runtime):
            with pytest.raises(AttributeError):
                _ = thing.max_batch_size
        with pytest.raises(AttributeError):
            config.max_workspace_sise = 1
        with pytest.raises(AttributeError):
            _ = trt.module.BuilderFlag.INT8
        assert hasattr(config, "max_workspace_size") == key.startswith(("8.0", "8.2"))
        assert here.tensorrt.builds == 0


def test_a_member_that_no_stand_in_has_is_an_error_of_the_list():
    lists = member_lists()
    lists["8.2.1"]["Builder"].append("build_engine_by_magic")
    wanted = pytest.raises(NotImplementedError, match="build_engine_by_magic")
    with wanted, board("8.2.1", members=lists):
        pass


def test_the_base_class_of_a_callback_must_be_initialised():
    with board("8.2.1"):
        base = trt_api.load().module.IProfiler
        with pytest.raises(TypeError, match="__init__"):
            type("Forgetful", (base,), {"__init__": lambda self: None})()


def test_real_packages_are_hidden_and_come_back():
    import onnxruntime  # stays: no stand-in is made for it

    with board(None, pycuda=False):
        assert trt_api.installed_packages() == []
        for name in ("tensorrt", "tensorrt_rtx", "pycuda", "pycuda.driver"):
            with pytest.raises(ImportError):
                importlib.import_module(name)
    assert importlib.import_module("onnxruntime") is onnxruntime


# --- Beside the real one --------------------------------------------------------------------------


@pytest.fixture(params=["stand-in", "real"])
def rtx(request):
    """TensorRT for RTX, ours and the real one, which builds without a GPU: do they agree?"""
    if request.param == "real":
        pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
        yield trt_api.load("tensorrt_rtx")
        return
    with board("rtx", NO_GPU):
        yield trt_api.load("tensorrt_rtx")


TARGET = ((8, 6),)


class TestBesideTheRealOne:
    def test_layers_of_nodes_have_the_same_names_kinds_and_shapes(self, rtx, onnx):
        layers = {layer.name: tuple(layer)[1:] for layer in rtx.network_layers(onnx)}
        for name, expected in {
            "mean": ("CONSTANT", "FLOAT", (1, 3, 1, 1, 1)),
            "sub": ("ELEMENTWISE", "FLOAT", (-1, 3, 4, 16, 16)),
            "conv": ("CONVOLUTION", "FLOAT", (-1, 8, 4, 8, 8)),
            "relu": ("ACTIVATION", "FLOAT", (-1, 8, 4, 8, 8)),
            "globalaveragepool": ("REDUCE", "FLOAT", (-1, 8, 1, 1, 1)),
            "ONNXTRT_ShapeTensor": ("SHAPE", "INT64", (5,)),
            "flatten": ("SHUFFLE", "FLOAT", (-1, 8)),
            "gemm": ("MATRIX_MULTIPLY", "FLOAT", (-1, 5)),
        }.items():
            assert layers[name] == expected, name
        assert any(name.startswith("gemm_") for name in layers)

    def test_the_parser_refuses_with_the_same_words(self, rtx, onnx):
        with pytest.raises(ModelFileError, match="Assertion failed: model->ParseFromCodedStream"):
            rtx.network_layers(onnx[:-1000])
        package = pytest.importorskip("onnx", reason="onnx, which spoils the model, is missing")
        model = package.load_model_from_string(onnx)
        model.graph.node[1].op_type, model.graph.node[2].op_type = "Mystery", "Riddle"
        reason = 'creator && "Plugin not found, are the plugin name, version, and namespace correct'
        with pytest.raises(ModelFileError) as caught:
            rtx.network_layers(model.SerializeToString())
        for node in ("node 'conv' (Mystery)", "node 'relu' (Riddle)"):
            assert f"{node}: {reason}" in str(caught.value)

    def test_a_build_tells_its_progress_and_can_be_stopped(self, rtx, onnx):
        told = {}

        def progress(phase, done, total):
            told.setdefault(phase, []).append((done, total))
            return True

        assert rtx.build(BuildRequest(onnx, (1,), targets=TARGET), progress).plan
        steps = told["Cloning network graph"]
        assert steps == [(step + 1, len(steps)) for step in range(len(steps))]
        with pytest.raises(BackendError, match="Build canceled by user"):
            rtx.build(BuildRequest(onnx, (1,), targets=TARGET), lambda *_: False)

    def test_a_build_fails_for_the_same_reasons(self, rtx, onnx):
        with pytest.raises(BackendError, match="no optimization profile has been defined"):
            rtx.build(BuildRequest(onnx, (), targets=TARGET))
        assert rtx.build(BuildRequest(onnx, (1,))).plan  # without a target: for many GPUs

    def test_an_engine_does_not_open_without_a_gpu(self, rtx, onnx):
        plan = rtx.build(BuildRequest(onnx, (1,), targets=TARGET)).plan
        with pytest.raises(BackendError, match="CUDA driver version is insufficient"):
            rtx.open_engine(plan)

    def test_profiles_and_targets_are_checked_alike(self, rtx):
        builder = rtx.module.Builder(rtx.logger)
        config, profile = builder.create_builder_config(), builder.create_optimization_profile()
        assert config.add_optimization_profile(builder.create_optimization_profile()) == 0
        with pytest.raises(RuntimeError, match="min is inconsistent"):
            profile.set_shape("clips", (-1,), (1,), (1,))
        profile.set_shape("clips", (2,), (1,), (1,))
        assert config.add_optimization_profile(profile) == -1
        config.num_compute_capabilities = 1
        target = rtx.module.ComputeCapability.SM86
        assert config.set_compute_capability(target, 0)
        assert not config.set_compute_capability(target, 1)

    def test_values_and_objects_behave_alike(self, rtx):
        module = rtx.module
        value = module.MemoryPoolType.WORKSPACE
        assert str(value) == "MemoryPoolType.WORKSPACE"
        assert int(value) == 0
        assert value != 0
        assert value == module.MemoryPoolType.__members__["WORKSPACE"]
        with pytest.raises(TypeError):
            1 << value
        builder = module.Builder(rtx.logger)
        for thing in (builder, module.BuilderFlag, module.Builder):
            with pytest.raises(AttributeError):
                _ = thing.FP16
        with pytest.raises(AttributeError):
            builder.fp16_mode = True
        for base in (module.IProfiler, module.ILogger, module.IProgressMonitor):
            with pytest.raises(TypeError, match="__init__"):
                type("Forgetful", (base,), {"__init__": lambda self: None})()
        with pytest.raises(TypeError):
            module.Builder(None)


# --- A machine that is not complete ---------------------------------------------------------------


def test_pycuda_fails_as_the_real_one_without_gpu_driver_or_package():
    with board("8.2.1", NO_GPU):
        driver = importlib.import_module("pycuda.driver")
        with pytest.raises(driver.Error, match="cuInit failed: no CUDA-capable device") as caught:
            driver.init()
        assert type(caught.value).__name__ == "RuntimeError"
    with board("8.2.1", libcuda=False):
        importlib.import_module("pycuda")
        with pytest.raises(ImportError, match=LIBCUDA_MISSING):
            importlib.import_module("pycuda.driver")


# --- The order of calls ---------------------------------------------------------------------------


class Rig:
    """An engine of the small model, opened with TensorRT's and pycuda's own calls."""

    def __init__(self, key, onnx, here):
        self.here = here
        self.trt = trt_api.load(RELEASES[key].package)
        self.plan = self.trt.build(BuildRequest(onnx, (1, 3))).plan
        self.driver = importlib.import_module("pycuda.driver")
        self.driver.init()
        self.context = self.driver.Device(0).make_context(flags=self.driver.ctx_flags.MAP_HOST)
        self.stream = self.driver.Stream()
        self.engine = self.trt.module.Runtime(self.trt.logger).deserialize_cuda_engine(self.plan)
        self.by_name = hasattr(self.engine, "num_io_tensors")
        self.execution = self.engine.create_execution_context()
        shapes = {"clips": (3, 3, 4, 16, 16), "logits": (3, 5)}
        self.host = {n: self.driver.pagelocked_empty(s, np.float32) for n, s in shapes.items()}
        self.device = {n: self.driver.mem_alloc(a.nbytes) for n, a in self.host.items()}

    def choose(self, profile=1):
        return self.execution.set_optimization_profile_async(profile, self.stream.handle)

    def set_shape(self, shape=(3, 3, 4, 16, 16), profile=1):
        if self.by_name:
            return self.execution.set_input_shape("clips", shape)
        return self.execution.set_binding_shape(2 * profile, shape)

    def enqueue(self, **instead):
        addresses = dict({name: int(memory) for name, memory in self.device.items()}, **instead)
        if not self.by_name:
            bindings = [0, 0, addresses["clips"], addresses["logits"]]
            return self.execution.execute_async_v2(bindings, self.stream.handle)
        for name, address in addresses.items():
            self.execution.set_tensor_address(name, address)
        return self.execution.execute_async_v3(self.stream.handle)

    def ready(self, clips):
        """All that goes before an enqueue."""
        self.host["clips"][:] = clips
        self.driver.memcpy_htod_async(int(self.device["clips"]), self.host["clips"], self.stream)
        assert self.choose() and self.set_shape()

    def fetch(self):
        self.driver.memcpy_dtoh_async(self.host["logits"], int(self.device["logits"]), self.stream)

    def close(self):
        """In the order that leaves nothing behind."""
        self.execution = self.engine = None
        for name in self.host:
            self.device[name].free()
            self.host[name].base.free()
        self.stream = None
        self.driver.Context.pop()
        self.context.detach()


@pytest.fixture(scope="module")
def onnx(tiny_model):
    return tiny_model.read_bytes()


@pytest.fixture
def rig(key, onnx):
    """The rig without a look at what it leaves behind; the tests look themselves."""
    with board(key, GPU_OF[key], check=False) as here:
        yield Rig(key, onnx, here)


@pytest.fixture(scope="module")
def clips(tiny_spec, clip_maker):
    return clip_maker(tiny_spec, 3)


@BOTH_APIS
def test_a_result_is_garbage_until_the_stream_is_waited_for(rig, clips):
    rig.ready(clips)
    assert rig.enqueue()
    rig.fetch()
    assert np.isnan(rig.host["logits"]).all()
    rig.stream.synchronize()
    assert np.isfinite(rig.host["logits"]).all()
    rig.close()
    rig.here.machine.check()


@BOTH_APIS
def test_an_input_that_is_overwritten_too_early_changes_the_result(rig, clips):
    answers = []
    for spoil in (False, True):
        rig.ready(clips)
        rig.enqueue()
        rig.fetch()
        if spoil:
            rig.host["clips"][:] = 0
        rig.stream.synchronize()
        answers.append(rig.host["logits"].copy())
    assert np.abs(answers[0] - answers[1]).max() > 0.1


@BOTH_APIS
def test_an_enqueue_without_shape_or_address_is_refused_and_logged(rig, clips):
    assert rig.choose()
    for shape in ((2, 3, 4, 16, 16), (3, 3, 4, 16), (3, 3, 4, 16, 17)):
        assert not rig.set_shape(shape)
    assert not rig.enqueue()
    rig.ready(clips)
    for missing in ("clips", "logits"):
        assert not rig.enqueue(**{missing: 0})
        assert f"no address of {missing}" in rig.here.tensorrt.messages[-1][1]
    assert rig.enqueue()


@BOTH_APIS
def test_another_profile_forgets_the_shape(rig, clips):
    rig.ready(clips)
    assert rig.choose(0)
    assert not rig.enqueue()
    assert not rig.choose(2)


def test_a_profile_serves_one_context_up_to_8_6_and_several_from_10_on(onnx):
    for key, shared in (("8.2.1", False), ("8.6.1", False), ("10.16", True)):
        with board(key, GPU_OF[key], check=False) as here:
            rig = Rig(key, onnx, here)
            assert rig.choose(1)
            second = rig.engine.create_execution_context()
            assert second.set_optimization_profile_async(1, rig.stream.handle) == shared
            rig.execution = None
            assert second.set_optimization_profile_async(1, rig.stream.handle)


@BOTH_APIS
def test_memory_that_is_freed_too_early_is_an_error_when_the_stream_gets_there(rig, clips):
    rig.ready(clips)
    assert rig.enqueue()
    rig.device["logits"].free()
    with pytest.raises(rig.driver.Error, match="illegal memory access"):
        rig.stream.synchronize()
    assert "memory was freed while work waited in a stream" in rig.here.machine.problems


@BOTH_APIS
def test_without_its_cuda_context_current_an_engine_does_nothing(rig, clips):
    rig.ready(clips)
    rig.driver.Context.pop()
    assert not rig.enqueue()
    assert rig.engine.create_execution_context() is None
    assert not rig.choose()
    assert rig.here.machine.problems
    with pytest.raises(rig.driver.Error, match="invalid device context"):
        rig.stream.synchronize()


@BOTH_APIS
def test_memory_of_another_cuda_context_is_refused(rig, clips):
    rig.ready(clips)
    rig.driver.Device(0).make_context()
    foreign = rig.driver.mem_alloc(60)
    rig.driver.Context.pop()
    assert rig.enqueue(logits=int(foreign))
    with pytest.raises(rig.driver.Error, match="illegal memory access"):
        rig.stream.synchronize()


@BOTH_APIS
@pytest.mark.parametrize("kept", ["execution", "engine"])
def test_what_outlives_its_cuda_context_is_noticed(rig, kept):
    keep = getattr(rig, kept)
    rig.close()
    assert rig.here.machine.problems == []
    del keep
    gc.collect()
    assert any("after its CUDA context" in text for text in rig.here.machine.problems)


@BOTH_APIS
def test_every_leak_is_counted(rig):
    assert len(rig.here.machine.live_objects()) > 6
    rig.device["clips"].free()
    rig.execution = rig.engine = rig.stream = None
    rig.driver.Context.pop()
    with pytest.raises(AssertionError) as caught:
        rig.here.machine.check()
    for what in ("60 bytes of device memory", "60 bytes of host memory", "CUDA context"):
        assert f"still alive: {what}" in str(caught.value)
    assert "engine" not in str(caught.value)


def test_a_network_for_the_parser_needs_explicit_batch_before_10(onnx):
    for key, needed in (("8.2.1", True), ("10.16", False)):
        with board(key, GPU_OF[key]):
            trt = trt_api.load()
            builder = trt.module.Builder(trt.logger)
            parser = trt.module.OnnxParser(builder.create_network(0), trt.logger)
            assert parser.parse(onnx) != needed
            assert not needed or "EXPLICIT_BATCH" in parser.get_error(0).desc()


@BOTH_APIS
def test_a_dynamic_network_is_not_built_without_a_profile(rig, onnx):
    module, logger = rig.trt.module, rig.trt.logger
    builder = module.Builder(logger)
    network = builder.create_network(0 if rig.by_name else 1)
    assert module.OnnxParser(network, logger).parse(onnx)
    assert builder.build_serialized_network(network, builder.create_builder_config()) is None
    assert "no optimization profile" in rig.here.tensorrt.messages[-1][1]


def test_a_callback_that_raises_is_noticed(onnx):
    def fail(name, ms):
        raise ValueError(name)

    with board("8.2.1", check=False) as here:
        trt = trt_api.load()
        plan = trt.build(BuildRequest(onnx, (1,))).plan
        with CudaSession() as session, session.current(), trt.open_engine(plan) as engine:
            execution = engine.create_execution(0, session.stream_handle)
            execution.profile_with(fail)
            shapes = [tensor.shape[1:] for tensor in engine.tensors]
            memory = [session.device_buffer((1, *shape), np.float32) for shape in shapes]
            execution.bind({"clips": memory[0].address, "logits": memory[1].address})
            execution.enqueue(session.stream_handle)
            execution.close()
        assert any("the process would have ended" in text for text in here.machine.problems)


def test_an_interrupt_waits_for_a_build_on_the_main_thread_as_it_does_in_c(onnx):
    steps = []

    def interrupt(step):
        steps.append(step)
        os.kill(os.getpid(), signal.SIGINT)

    with board("8.2.1") as here:
        here.tensorrt.on_build = interrupt
        before = signal.getsignal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            trt_api.load().build(BuildRequest(onnx, (1,)))
        assert signal.getsignal(signal.SIGINT) is before
    assert len(steps) > 3


# --- pycuda by itself -----------------------------------------------------------------------------


@pytest.fixture
def cuda():
    """pycuda.driver, started, with a context current; nothing is looked at afterwards."""
    with board("8.2.1", check=False) as here:
        driver = importlib.import_module("pycuda.driver")
        driver.init()
        here.driver, here.context = driver, driver.Device(0).make_context(flags=8)
        yield here


def test_contexts_are_a_stack_for_each_thread(cuda):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(cuda.driver.Context.get_current()))
    thread.start()
    thread.join()
    assert seen == [None]
    assert cuda.driver.Context.get_current() is cuda.context
    cuda.driver.Context.pop()
    with pytest.raises(cuda.driver.Error, match="cannot pop non-current context"):
        cuda.driver.Context.pop()
    with pytest.raises(cuda.driver.Error, match="invalid device context"):
        cuda.driver.mem_alloc(8)


@pytest.mark.parametrize("how", ["free", "detach"])
def test_what_another_thread_gives_back_without_the_context_is_leaked(cuda, how):
    memory = cuda.driver.mem_alloc(64)
    cuda.driver.Context.pop()
    thread = threading.Thread(target=memory.free if how == "free" else cuda.context.detach)
    thread.start()
    thread.join()
    assert any("in another thread: pycuda leaks it" in text for text in cuda.machine.problems)
    assert cuda.machine.live_objects()[0] == "CUDA context"


def test_a_context_left_current_is_noticed(cuda):
    with pytest.raises(AssertionError, match="left current"):
        cuda.machine.check()


def test_memory_ends(cuda):
    with pytest.raises(cuda.driver.MemoryError, match="out of memory"):
        cuda.driver.mem_alloc(TX2.memory_bytes + 1)
    memory = cuda.driver.mem_alloc(64)
    memory.free()
    with pytest.raises(cuda.driver.Error):
        memory.free()
    with pytest.raises(TypeError):
        cuda.driver.mem_alloc(np.int64(64))


def test_asynchronous_copies_want_page_locked_memory(cuda):
    memory, stream = cuda.driver.mem_alloc(64), cuda.driver.Stream()
    cuda.driver.memcpy_htod_async(int(memory), np.zeros(16, np.float32), stream)
    assert any("page-locked" in text for text in cuda.machine.problems)


def test_mapped_memory_wants_both_flags(cuda):
    plain = cuda.driver.pagelocked_empty((4,), np.float32)
    with pytest.raises(cuda.driver.Error):
        plain.base.get_device_pointer()
    flag = cuda.driver.host_alloc_flags.DEVICEMAP
    mapped = cuda.driver.pagelocked_empty((4,), np.float32, mem_flags=flag)
    assert mapped.base.get_device_pointer() > 0
    cuda.driver.Device(0).make_context(flags=0)
    other = cuda.driver.pagelocked_empty((4,), np.float32, mem_flags=flag)
    with pytest.raises(cuda.driver.Error):
        other.base.get_device_pointer()


def test_events_count_time_and_know_when_it_has_not_come(cuda):
    stream, first, second = cuda.driver.Stream(), cuda.driver.Event(), cuda.driver.Event()
    host = cuda.driver.pagelocked_empty((5000, 1000), np.float32)
    memory = cuda.driver.mem_alloc(host.nbytes)
    with pytest.raises(cuda.driver.Error):
        first.time_till(second)
    first.record(stream)
    cuda.driver.memcpy_htod_async(int(memory), host, stream)
    second.record(stream)
    with pytest.raises(cuda.driver.Error, match="not ready"):
        first.time_till(second)
    stream.synchronize()
    assert first.time_till(second) == pytest.approx(2.0)  # 20 MB at 10 GB/s


def test_a_gpu_is_what_the_test_says():
    with board("8.6.1", RTX_3060, check=False):
        assert gpu_facts()[:2] == ("NVIDIA GeForce RTX 3060", (8, 6))

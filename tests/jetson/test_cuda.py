"""CUDA sessions on the stand-in: any thread, freed in order, interrupted anywhere, clear errors."""

import sys
import threading

import numpy as np
import pytest
from stand_ins import NO_GPU, TITAN_XP, TX2, board, member_lists

from clipedge.jetson.cuda import CudaSession, gpu_facts
from clipedge.jetson.errors import BackendError, UsageError


@pytest.fixture
def here():
    """A TX2; at the end nothing may be left behind."""
    with board(None) as made:
        yield made


def there_and_back(session, values):
    """Copy values to the GPU and back again; what arrives."""
    source = session.pinned_buffer(values.shape, values.dtype)
    on_gpu = session.device_buffer(values.shape, values.dtype)
    target = session.pinned_buffer(values.shape, values.dtype)
    source.array[:] = values
    session.copy_to_device(source, on_gpu)
    session.copy_to_host(on_gpu, target)
    session.synchronize()
    return np.array(target.array)


VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


class TestFacts:
    def test_of_a_jetson(self, here):
        facts = gpu_facts()
        assert facts == ("NVIDIA Tegra X2", (6, 2), 8 * 1024**3, True, "10.2")
        assert here.machine.live_objects() == []  # no context was made for them

    def test_of_a_card(self):
        with board(None, TITAN_XP):
            facts = gpu_facts()
        assert (facts.integrated, facts.compute_capability) == (False, (6, 1))

    def test_another_gpu_than_there_is(self, here):
        with pytest.raises(BackendError, match="no GPU 1"):
            gpu_facts(1)


class TestWhatIsMissing:
    """Each is one error, which says what is missing and what to do without it."""

    @staticmethod
    def message():
        with pytest.raises(BackendError) as caught:
            gpu_facts()
        text = str(caught.value)
        assert "\n" not in text
        assert len(text) < 400
        with pytest.raises(BackendError) as caught:
            CudaSession()
        assert str(caught.value) == text
        return text

    def test_pycuda(self):
        with board(None, pycuda=False):
            text = self.message()
        assert "pycuda, which runs engines, is not installed" in text
        assert "/usr/local/cuda/bin" in text  # it is compiled, with nvcc
        assert "CPATH=/usr/local/cuda/include" in text
        assert ("'pycuda<2021.1'" in text) == (sys.version_info < (3, 7))
        assert "open the ONNX file" in text

    def test_the_driver(self):
        with board(None, libcuda=False):
            assert "driver (libcuda.so.1) is not on this machine" in self.message()

    def test_a_gpu(self):
        with board(None, NO_GPU):
            text = self.message()
        assert "CUDA does not start: cuInit failed: no CUDA-capable device is detected" in text
        assert "group video" in text

    def test_a_driver_as_new_as_pycuda_needs(self, here):
        here.pycuda.module.get_version = lambda: (12, 2, 0)
        assert "driver supports CUDA 10.2 and pycuda was built with CUDA 12.2" in self.message()

    @pytest.mark.parametrize(
        ("reason", "told"),
        [
            ("_driver.so: undefined symbol: cuCtxCreate_v4", "driver is older than pycuda needs"),
            ("libcurand.so.10: cannot open shared object file", "pycuda does not load: libcurand"),
            ("No module named 'mako'", "pycuda does not load: No module named 'mako'"),
        ],
    )
    def test_something_that_pycuda_needs(self, monkeypatch, reason, told):
        kind = ModuleNotFoundError if "module" in reason else ImportError

        def fail(name):
            raise kind(reason, name="mako")

        monkeypatch.setattr("clipedge.jetson.cuda.importlib.import_module", fail)
        assert told in self.message()


class TestSession:
    def test_copies_there_and_back_and_notes_the_time(self, here):
        with CudaSession() as session, session.current():
            start, end = session.event(), session.event()
            session.record(start)
            assert np.array_equal(there_and_back(session, VALUES), VALUES)
            session.record(end)
            session.synchronize()
            assert session.elapsed_ms(start, end) > 0

    def test_mapped_memory_is_the_hosts_and_has_an_address(self, here):
        with CudaSession() as session, session.current():
            buffer = session.mapped_buffer((2, 3), np.float32)
            buffer.array[:] = VALUES
            seen = here.machine.view(buffer.address, VALUES.nbytes).view(np.float32)
            assert np.array_equal(seen, VALUES.ravel())

    def test_the_context_is_current_inside_the_block_alone(self, here):
        with CudaSession() as session:
            assert here.machine.current_context() is None
            with session.current():
                assert here.machine.current_context() is not None
            assert here.machine.current_context() is None

    def test_a_context_that_was_current_before_is_current_again(self, here):
        with CudaSession() as outer, CudaSession() as inner, outer.current():
            before = here.machine.current_context()
            with inner.current():
                assert here.machine.current_context() is not before
            assert here.machine.current_context() is before

    def test_works_in_another_thread_than_its_own(self, here):
        results = []

        def work(session):
            with session.current():
                results.append(there_and_back(session, VALUES))

        with CudaSession() as session:
            thread = threading.Thread(target=work, args=(session,))
            thread.start()
            thread.join()
        assert np.array_equal(results[0], VALUES)

    def test_is_closed_in_another_thread_than_its_own(self, here):
        session = CudaSession()
        with session.current():
            there_and_back(session, VALUES)
        thread = threading.Thread(target=session.close)
        thread.start()
        thread.join()
        assert here.machine.live_objects() == []
        with pytest.raises(UsageError, match="closed"), session.current():
            pass

    def test_frees_in_reverse_order_the_context_last(self, here):
        died, really_died = [], here.machine.died
        session = CudaSession()
        with session.current():
            there_and_back(session, VALUES)
            session.event()
        alive = here.machine.live_objects()
        names = dict(here.machine._live)
        here.machine.died = lambda key: died.append(names[key][0]) or really_died(key)
        session.close()
        # The stream was made before all that is allocated for it, the context before the stream.
        assert died == list(reversed(alive))
        assert died[-2:] == ["stream", "CUDA context"]
        session.close()

    def test_waits_for_copies_before_it_frees_their_memory(self, here):
        with CudaSession() as session, session.current():
            host = session.pinned_buffer((2, 3), np.float32)
            on_gpu = session.device_buffer((2, 3), np.float32)
            session.copy_to_device(host, on_gpu)
        # The stand-in counts memory that is freed while work waits as a problem.
        assert here.machine.problems == []

    def test_a_buffer_that_is_freed_cannot_be_read_any_more(self, here):
        with CudaSession() as session, session.current():
            buffer = session.pinned_buffer((2, 3), np.float32)
            session.free(buffer)
            assert buffer.array is None
            assert len(here.machine.live_objects()) == 2  # context and stream

    def test_many_leave_nothing(self, here):
        for _ in range(50):
            with CudaSession() as session, session.current():
                there_and_back(session, VALUES)
        assert here.machine.live_objects() == []
        assert here.machine.used_bytes() == 0


class TestFailures:
    def test_no_memory_left_says_how_much_was_wanted(self):
        small, refused = (
            TX2._replace(memory_bytes=1000),
            r"Tegra X2 has not 4\.0 MiB.*smaller batch",
        )
        with board(None, small), CudaSession() as session, session.current():
            for make in (session.device_buffer, session.pinned_buffer, session.mapped_buffer):
                with pytest.raises(BackendError, match=refused):
                    make((1024, 1024), np.float32)

    def test_an_error_of_cuda_becomes_ours(self, here):
        with CudaSession() as session:
            with pytest.raises(BackendError, match="CUDA failed: cuMem"), session.current():
                session.device_buffer((0,), np.float32)
            with pytest.raises(BackendError, match="out of memory"), session.current():
                raise here.pycuda.module.MemoryError("cuLaunch failed: out of memory")

    def test_another_exception_leaves_no_context_current(self, here):
        with CudaSession() as session:
            with pytest.raises(KeyError), session.current():
                raise KeyError
            assert here.machine.current_context() is None

    def test_a_failure_while_it_is_made_leaves_nothing(self, here):
        def fail(*_):
            raise here.pycuda.module.Error("cuStreamCreate failed: invalid argument")

        here.pycuda.module.Stream = fail
        with pytest.raises(BackendError, match="cuStreamCreate failed"):
            CudaSession()
        assert here.machine.live_objects() == []

    def test_an_interrupt_while_the_context_is_made_leaves_none(self, here):
        """It takes a second; Ctrl-C meanwhile is raised as the call returns, its result lost."""
        device = here.pycuda.classes["Device"]
        make_context, made = device.make_context, []

        def make_and_interrupt(self, flags=0):
            made.append(make_context(self, flags))  # the stand-in's lives as long as its object
            raise KeyboardInterrupt

        device.make_context = make_and_interrupt
        with pytest.raises(KeyboardInterrupt):
            CudaSession()
        assert here.machine.live_objects() == []

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="tracing a frame keeps its locals alive")
    def test_an_interrupt_at_any_line_leaves_nothing(self, here):
        """Every line of the session is interrupted once, each time it runs in a short life."""
        interrupted = 0
        for place in range(1, 1000):
            tracer = _InterruptAt(place)
            try:
                with tracer, CudaSession() as session, session.current():
                    there_and_back(session, VALUES)
                    session.event()
            except KeyboardInterrupt:
                interrupted += 1
            assert here.machine.live_objects() == [], place
            assert here.machine.current_context() is None, place
            if not tracer.done:
                break
        assert interrupted > 50
        assert here.machine.problems == []


class _InterruptAt:
    """Raises KeyboardInterrupt before the n-th line that runs in cuda.py, as Ctrl-C would."""

    def __init__(self, place):
        self.left = place
        self.done = False

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._trace)

    def __exit__(self, *_):
        sys.settrace(self._before)

    def _trace(self, frame, event, argument):
        if not frame.f_code.co_filename.endswith("jetson/cuda.py"):
            return None
        # On the doorstep of making and closing nobody else has the session: pycuda's destructors
        # free it then, which the stand-in takes for a mistake.
        doorstep = frame.f_code.co_name in ("__enter__", "__exit__", "close")
        if event == "line" and not doorstep and not self.done:
            self.left -= 1
            if self.left == 0:
                self.done = True
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._trace


def test_it_uses_only_what_pycuda_2020_has(shared):
    """The stand-in's list is what the code may use; the newest pycuda has all of it too."""
    import json

    newest = json.loads((shared / "reference" / "pycuda_api.json").read_text())["api"]
    for name, members in member_lists()["pycuda"].items():
        known = newest["pycuda.driver" if name == "module" else f"pycuda.driver.{name}"]
        assert set(members) <= set(known), name


class TestBeside:
    """Sessions that share a CUDA context, which goes with the last of them."""

    @pytest.mark.parametrize("first_to_close", [0, 1])
    def test_either_may_close_first(self, here, first_to_close):
        one = CudaSession()
        sessions = [one, CudaSession(beside=one)]
        for session in sessions:
            with session.current():
                assert np.array_equal(there_and_back(session, VALUES), VALUES)
        assert sessions[0].stream_handle != sessions[1].stream_handle
        assert here.machine.live_objects().count("CUDA context") == 1
        sessions.pop(first_to_close).close()
        with sessions[0].current():
            assert np.array_equal(there_and_back(sessions[0], VALUES), VALUES)
        assert here.machine.live_objects().count("stream") == 1
        sessions[0].close()
        assert here.machine.live_objects() == []

    def test_two_threads_are_in_two_of_them_at_once(self, here):
        together, found = threading.Barrier(2, timeout=20), []
        with CudaSession() as one, CudaSession(beside=one) as other:

            def use(session):
                with session.current():
                    together.wait()
                    found.append(np.array_equal(there_and_back(session, VALUES), VALUES))
                    together.wait()

            threads = [threading.Thread(target=use, args=(each,)) for each in (one, other)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert found == [True, True]

    def test_they_close_in_two_threads_at_once(self, here):
        for _ in range(20):
            one = CudaSession()
            sessions, together = [one, CudaSession(beside=one)], threading.Barrier(2, timeout=20)
            for session in sessions:
                with session.current():
                    session.device_buffer((2, 3), np.float32)

            def close(session, together=together):
                together.wait()
                session.close()

            threads = [threading.Thread(target=close, args=(each,)) for each in sessions]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert here.machine.live_objects() == []

    def test_beside_a_closed_one_is_a_wrong_call(self, here):
        one = CudaSession()
        one.close()
        with pytest.raises(UsageError, match="share a context with is closed"):
            CudaSession(beside=one)

    def test_one_that_fails_to_open_leaves_the_other(self, here, monkeypatch):
        def fail():
            raise here.pycuda.errors["LogicError"]("cuStreamCreate failed: unknown error")

        with CudaSession() as one:
            with monkeypatch.context() as patch:
                patch.setattr(here.pycuda.module, "Stream", fail)
                with pytest.raises(BackendError, match="cuStreamCreate"):
                    CudaSession(beside=one)
            with one.current():
                assert np.array_equal(there_and_back(one, VALUES), VALUES)

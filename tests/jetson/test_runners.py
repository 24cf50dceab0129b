"""How open_runner chooses, and what it says of files it cannot open."""

import contextlib
import importlib.util
import itertools
import logging
import shutil
import sys

import numpy as np
import pytest

from clipedge.jetson.errors import BackendError, ClipError, ModelFileError, UsageError
from clipedge.jetson.onnx_metadata import read_onnx_metadata
from clipedge.jetson.runners import base, open_runner, opening
from clipedge.jetson.spec import METADATA_KEY

BACKENDS = ("onnxruntime", "openvino")


def installed(name):
    return importlib.util.find_spec(name) is not None


def need(name):
    if not installed(name):
        pytest.skip("{} is not installed for Python {}.{}".format(name, *sys.version_info[:2]))


@pytest.fixture(params=BACKENDS)
def backend(request):
    need(request.param)
    return request.param


def test_openvino_compiles_for_the_first_batch_sizes_and_once_for_all_others(
    tiny_model, clip_maker, monkeypatch
):
    need("openvino")
    from clipedge.jetson.runners.openvino_runner import OpenvinoRunner

    compiled = []
    compile_for = OpenvinoRunner._compile
    monkeypatch.setattr(
        OpenvinoRunner, "_compile", lambda self, n: compiled.append(n) or compile_for(self, n)
    )
    with open_runner(tiny_model, "openvino") as runner:
        for count in [8, 1, 3, 5, 6, 8, 5, 7, 1]:
            assert len(runner.infer(clip_maker(runner.spec, count))) == count
    assert compiled == [1, 8, 3, None]


def test_backends_agree(tiny_model, clip_maker):
    for name in BACKENDS:
        need(name)
    results = []
    for name in BACKENDS:
        with open_runner(tiny_model, name) as runner:
            results.append(runner.infer(clip_maker(runner.spec, 8)))
    assert np.abs(results[0] - results[1]).max() <= 1e-4 * np.abs(results[0]).max()


class TestOpening:
    def test_auto_takes_the_fastest_and_says_which(self, tiny_model, monkeypatch, caplog):
        for name in BACKENDS:
            need(name)
        times_ms = {}
        monkeypatch.setattr(opening, "_trial_ms", lambda runners, batch, problems: dict(times_ms))
        with caplog.at_level(logging.INFO):
            for winner, slower in [("openvino", "onnxruntime"), ("onnxruntime", "openvino")]:
                times_ms.update({slower: 9.0, winner: 4.0})
                with open_runner(tiny_model, batch=8) as runner:
                    assert (runner.backend, runner.auto_trial_ms) == (winner, times_ms)
                assert f"Backend: {winner}, the fastest" in caplog.text
        assert "(8 clips: " in caplog.text
        assert "onnxruntime 9.0 ms" in caplog.text

    def test_auto_closes_the_slower_and_keeps_the_fastest_open(self, tiny_model, monkeypatch):
        for name in BACKENDS:
            need(name)
        closed = []
        close = base.Runner.close
        monkeypatch.setattr(
            base.Runner, "close", lambda self: closed.append(self.backend) or close(self)
        )
        monkeypatch.setattr(
            opening, "_trial_ms", lambda runners, batch, problems: {n: len(n) for n in runners}
        )
        with open_runner(tiny_model) as runner:
            assert (runner.backend, closed) == ("openvino", ["onnxruntime"])
        assert closed == ["onnxruntime", "openvino"]

    def test_auto_goes_on_when_one_backend_cannot_run_the_clips(
        self, tiny_model, monkeypatch, caplog
    ):
        for name in BACKENDS:
            need(name)
        from clipedge.jetson.runners.openvino_runner import OpenvinoRunner

        def fails(self, clips):
            raise BackendError("openvino could not run this.")

        monkeypatch.setattr(OpenvinoRunner, "_infer", fails)
        with open_runner(tiny_model) as runner:
            assert runner.backend == "onnxruntime"
            assert list(runner.auto_trial_ms) == ["onnxruntime"]
        assert "openvino could not run this" in caplog.text

    def test_auto_really_times_and_the_winner_works(self, tiny_model, clip_maker, monkeypatch):
        monkeypatch.setattr(opening, "TRIAL_S", 0.02)
        with open_runner(tiny_model) as runner:
            assert runner.infer(clip_maker(runner.spec, 2)).shape == (2, 5)

    def test_auto_does_not_time_a_single_backend(self, tiny_model, monkeypatch, caplog):
        need("onnxruntime")
        monkeypatch.setattr(opening, "is_installed", lambda name: name == "onnxruntime")
        monkeypatch.setattr(opening, "_trial_ms", None)
        with caplog.at_level(logging.INFO), open_runner(tiny_model) as runner:
            assert runner.backend == "onnxruntime"
        assert "the only one" in caplog.text

    def test_auto_goes_on_when_one_backend_cannot_open_the_file(
        self, tiny_model, monkeypatch, caplog
    ):
        for name in BACKENDS:
            need(name)
        really_open = opening._open

        def fail_one(name, *rest):
            if name == "openvino":
                raise ModelFileError("openvino cannot open this.")
            return really_open(name, *rest)

        monkeypatch.setattr(opening, "_open", fail_one)
        with caplog.at_level(logging.INFO), open_runner(tiny_model) as runner:
            assert runner.backend == "onnxruntime"
        assert "openvino cannot open this" in caplog.text

    def test_missing_backend_says_how_to_install_it(self, tiny_model, monkeypatch):
        monkeypatch.setattr(opening, "is_installed", lambda name: False)
        for name in ("auto", "onnxruntime"):
            with pytest.raises(BackendError, match=r"pip install \w+"):
                open_runner(tiny_model, name)

    def test_unknown_backend_comes_with_the_nearest(self, tiny_model):
        with pytest.raises(UsageError, match="did you mean onnxruntime"):
            open_runner(tiny_model, "onnx-runtime")
        with pytest.raises(UsageError, match="did you mean fp16"):
            open_runner(tiny_model, precision="f16")
        with pytest.raises(UsageError, match="threads"):
            open_runner(tiny_model, threads=0)

    def test_a_backend_that_does_not_run_this_kind_of_file_says_which_does(
        self, tiny_model, tmp_path
    ):
        engine = tmp_path / "a.engine"
        with pytest.raises(UsageError, match=r"is an ONNX file.*export-engine --onnx .*tiny.onnx"):
            open_runner(tiny_model, "tensorrt")
        for name in BACKENDS:
            with pytest.raises(UsageError, match=r"is a TensorRT engine.*backend tensorrt"):
                open_runner(engine, name)
        with pytest.raises(UsageError, match=r"a.engine.*--precision fp16"):
            open_runner(engine, precision="fp16")
        with pytest.raises(UsageError, match=r"a.engine does not exist"):
            open_runner(engine)

    def test_an_fp16_file_is_not_called_fp32(self, model_writer, tmp_path):
        need("onnxruntime")
        onnx = pytest.importorskip("onnx")
        path = model_writer(tmp_path / "half.onnx")
        model = onnx.load(str(path))
        entry = model.metadata_props.add()
        entry.key, entry.value = "clipedge.precision", "fp16"
        onnx.save(model, str(path))
        with open_runner(path, "onnxruntime") as runner:
            assert runner.describe()["precision"] == "fp16"

    def test_bf16_is_used_only_when_asked_for(self, tiny_model, clip_maker):
        need("openvino")
        with pytest.raises(BackendError, match=r"onnxruntime runs models in fp32"):
            open_runner(tiny_model, "onnxruntime", precision="bf16")
        try:
            runner = open_runner(tiny_model, "openvino", precision="bf16")
        except BackendError as error:
            pytest.skip(str(error))
        with runner, open_runner(tiny_model, "openvino") as exact:
            assert runner.describe()["precision"] == "bf16"
            clips = clip_maker(runner.spec, 4)
            assert np.abs(runner.infer(clips) - exact.infer(clips)).max() > 0

    def test_a_fixed_batch_is_kept(self, backend, model_writer, tmp_path, clip_maker):
        path = model_writer(tmp_path / "two.onnx", batch=2)
        with open_runner(path, backend) as runner:
            assert runner.batch_sizes == (2,)
            assert runner.infer(clip_maker(runner.spec, 2)).shape == (2, 5)
            with pytest.raises(ClipError, match=r"\(2, 3, 4, 16, 16\).*a batch of 3"):
                runner.infer(clip_maker(runner.spec, 3))


class Clocked(base.Runner):
    """Takes as long as it is told, by a clock of the test's."""

    def __init__(self, spec, machine, latencies_s):
        super().__init__(spec)
        self.counts = []
        self._machine, self._latencies_s = machine, itertools.cycle(latencies_s)

    def _infer(self, clips):
        self.counts.append(len(clips))
        self._machine.ran.append(self)
        self._machine.now_s += next(self._latencies_s)
        return np.zeros((len(clips), self.spec.num_classes), np.float32)

    def describe(self):
        return {}


class Machine:
    """A clock, and backends that move it."""

    def __init__(self, spec, **latencies_s):
        self.now_s = 0.0
        self.ran = []
        self.runners = {name: Clocked(spec, self, all_) for name, all_ in latencies_s.items()}

    def trial_ms(self, batch=None):
        return opening._trial_ms(self.runners, batch, [], lambda: self.now_s)


class TestTheTrialOfAuto:
    def test_what_else_the_machine_does_does_not_change_the_order(self, tiny_spec):
        machine = Machine(tiny_spec, fast=[0.5, 0.01, 0.3, 0.3, 0.3], slow=[0.02])
        found_ms = machine.trial_ms()
        assert found_ms == {"fast": pytest.approx(10.0), "slow": pytest.approx(20.0)}

    def test_the_backends_take_turns(self, tiny_spec):
        machine = Machine(tiny_spec, one=[0.02], other=[0.02])
        machine.trial_ms()
        turns = [runner for runner, _ in itertools.groupby(machine.ran)]
        assert turns == list(machine.runners.values()) * (1 + opening.TRIAL_TURNS)

    def test_it_is_short_where_a_batch_is(self, tiny_spec):
        machine = Machine(tiny_spec, one=[0.004], other=[0.005])
        machine.trial_ms()
        assert 0.4 < machine.now_s < 0.6

    def test_where_a_batch_takes_a_second_each_runs_twice(self, tiny_spec):
        machine = Machine(tiny_spec, one=[1.2], other=[1.0])
        found_ms = machine.trial_ms()
        assert found_ms == {"one": pytest.approx(1200), "other": pytest.approx(1000)}
        assert [len(runner.counts) for runner in machine.runners.values()] == [2, 2]

    def test_no_hiccup_decides_where_a_batch_takes_half_a_second(self, tiny_spec):
        machine = Machine(tiny_spec, fast=[2.0, 0.9, 0.4], slow=[0.6])
        found_ms = machine.trial_ms()
        assert found_ms == {"fast": pytest.approx(400), "slow": pytest.approx(600)}

    def test_it_times_batches_of_the_size_that_will_run(self, tiny_spec):
        machine = Machine(tiny_spec, one=[0.1], other=[0.1])
        machine.trial_ms(batch=8)
        assert set(machine.runners["one"].counts) == {8}
        machine.trial_ms()
        assert machine.runners["one"].counts[-1] == 1


class TestSpecOfAFile:
    def test_is_read_from_the_metadata(self, tiny_model, tiny_spec):
        assert read_onnx_metadata(tiny_model) == {METADATA_KEY: tiny_spec.to_json()}

    def test_is_the_one_onnxruntime_reads(self, tiny_model):
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession(str(tiny_model), providers=["CPUExecutionProvider"])
        theirs = session.get_modelmeta().custom_metadata_map
        assert read_onnx_metadata(tiny_model) == theirs

    def test_may_lie_beside(self, backend, model_writer, tmp_path, tiny_spec):
        path = model_writer(tmp_path / "bare_1.0x.onnx", metadata=False)
        with pytest.raises(
            ModelFileError, match=r"no ClipSpec.*bare_1.0x.spec.json.*export-engine"
        ):
            open_runner(path, backend)
        tiny_spec.save(tmp_path / "bare_1.0x.spec.json")
        with open_runner(path, backend) as runner:
            assert runner.spec == tiny_spec

    def test_damaged_metadata_is_an_error(self, model_writer, tmp_path):
        path = model_writer(tmp_path / "bad.onnx", metadata='{"format_version": 99}')
        with pytest.raises(ModelFileError, match=r"bad.onnx: .*format version 99"):
            open_runner(path)

    def test_that_contradicts_the_graph_is_an_error(
        self, backend, model_writer, tmp_path, tiny_spec
    ):
        other = tiny_spec._replace(frames=8).to_json()
        path = model_writer(tmp_path / "frames.onnx", metadata=other)
        with pytest.raises(ModelFileError, match=r"\(N, 3, 4, 16, 16\).*says \(N, 3, 8, 16, 16\)"):
            open_runner(path, backend)
        path = model_writer(tmp_path / "classes.onnx", classes=7)
        with pytest.raises(ModelFileError, match=r"output of shape \(N, 7\).*says \(N, 5\)"):
            open_runner(path, backend)


class TestDamagedFiles:
    def test_missing_file_and_folder_are_wrong_calls(self, tmp_path):
        with pytest.raises(UsageError, match="does not exist"):
            open_runner(tmp_path / "none.onnx")
        with pytest.raises(UsageError, match="is a folder"):
            open_runner(tmp_path)

    @pytest.mark.parametrize(
        "content", [b"", b"# not a model\n" * 40, b"\x89PNG\r\n\x1a\n" + bytes(99), b"\xff" * 30]
    )
    def test_what_is_no_onnx_is_refused_in_one_line(self, tmp_path, content):
        path = tmp_path / "other.onnx"
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match="not a whole ONNX file") as caught:
            open_runner(path)
        assert "\n" not in str(caught.value)

    def test_truncated_anywhere(self, tiny_model, tmp_path):
        whole = tiny_model.read_bytes()
        path = tmp_path / "cut.onnx"
        for length in list(range(0, len(whole), 197)) + [len(whole) - 1]:
            path.write_bytes(whole[:length])
            # A cut exactly between two fields leaves a smaller message without a ClipSpec.
            with pytest.raises(ModelFileError, match=r"not a whole ONNX file|no ClipSpec"):
                open_runner(path)

    def test_damage_inside_the_graph_names_backend_and_file(self, backend, tiny_model, tmp_path):
        whole = tiny_model.read_bytes()
        middle = whole.index(b"GlobalAveragePool")
        path = tmp_path / "hurt.onnx"
        path.write_bytes(whole[: middle - 8] + b"\xff" * 30 + whole[middle + 22 :])
        with pytest.raises(ModelFileError, match=rf"{backend}.*cannot open .*hurt.onnx") as caught:
            open_runner(path, backend)
        assert "\n" not in str(caught.value)

    def test_bytes_flipped_anywhere_never_end_in_another_exception(self, tiny_model, tmp_path):
        whole = bytearray(tiny_model.read_bytes())
        path = tmp_path / "flipped.onnx"
        random = np.random.RandomState(3)
        for _ in range(150):
            damaged = bytearray(whole)
            for place in random.randint(0, len(whole), size=3):
                damaged[place] ^= 1 << random.randint(8)
            path.write_bytes(bytes(damaged))
            with contextlib.suppress(ModelFileError):
                read_onnx_metadata(path)

    def test_a_file_that_may_not_be_read(self, tiny_model, tmp_path):
        path = tmp_path / "secret.onnx"
        shutil.copy(str(tiny_model), str(path))
        path.chmod(0)
        try:
            path.read_bytes()
        except PermissionError:
            with pytest.raises(ModelFileError, match="permission denied"):
                open_runner(path)
        else:
            pytest.skip("this user may read every file")

"""Times of layers by OpenVINO's and ONNX Runtime's own profilers, on files of a few layers."""

import importlib.util
import statistics
import tempfile
import time

import numpy as np
import pytest

from clipedge.jetson.errors import BackendError, ClipError, UsageError
from clipedge.jetson.runners import onnxruntime_runner, open_runner
from clipedge.jetson.runners.layer_times import median_times_ms

CPU_BACKENDS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            importlib.util.find_spec(name) is None, reason=f"{name} is not installed"
        ),
    )
    for name in ("onnxruntime", "openvino")
]
every_backend = pytest.mark.parametrize("backend", CPU_BACKENDS)
LAST = {"onnxruntime": "gemm", "openvino": "logits"}  # OpenVINO calls it as its output

TRIES = 10  # other processes take the cores for a while


@pytest.fixture(scope="module")
def wide_spec(tiny_spec):
    return tiny_spec._replace(frames=8, size=64)


@pytest.fixture(scope="module")
def files(model_writer, wide_spec, tmp_path_factory):
    """Two models whose convolutions have 8 and 96 channels."""
    folder = tmp_path_factory.mktemp("layers")
    return [model_writer(folder / f"{n}.onnx", wide_spec, channels=n) for n in (8, 96)]


@pytest.fixture(scope="module")
def clips(wide_spec, clip_maker):
    return clip_maker(wide_spec, 2)


@every_backend
class TestLayerTimes:
    def test_layers_come_in_the_graphs_order_without_what_is_fused(self, backend, files, clips):
        with open_runner(files[0], backend, 1) as runner:
            times_ms = runner.layer_times_ms(clips, 2)
        nodes = ("sub", "conv", "globalaveragepool", LAST[backend])
        assert [name for name in times_ms if name in nodes] == list(nodes)
        assert "relu" not in times_ms  # it runs within the convolution
        assert min(times_ms.values()) >= 0.0

    def test_a_layer_made_bigger_takes_more_time(self, backend, files, clips):
        conv_ms = []
        for file in files:
            with open_runner(file, backend, 1) as runner:
                conv_ms.append(runner.layer_times_ms(clips, 5)["conv"])
        assert conv_ms[1] > 2 * conv_ms[0]  # 12 times the sums

    def test_their_sum_is_about_the_latency(self, backend, files, clips):
        with open_runner(files[1], backend, 1) as runner:
            ratios = []
            for _ in range(TRIES):
                ratios.append(sum(runner.layer_times_ms(clips, 5).values()) / latency_ms(runner))
                if 0.5 < ratios[-1] < 1.5:
                    return
        pytest.fail(f"layers took {ratios} of the latency")

    def test_the_runner_scores_as_before(self, backend, files, clips):
        with open_runner(files[0], backend, 1) as runner:
            before = runner.infer(clips)
            runner.layer_times_ms(clips, 1)
            np.testing.assert_array_equal(runner.infer(clips), before)

    def test_clips_are_checked(self, backend, files, clips):
        refused = pytest.raises(ClipError, match="got dtype float64")
        with open_runner(files[0], backend, 1) as runner, refused:
            runner.layer_times_ms(clips.astype(np.float64), 1)
        with pytest.raises(UsageError, match="closed"):
            runner.layer_times_ms(clips, 1)


def latency_ms(runner):
    clips = np.full((2, *runner.spec.clip_shape), 128.0, np.float32)
    latencies_ms = []
    for _ in range(7):
        start_s = time.perf_counter()
        runner.infer(clips)
        latencies_ms.append((time.perf_counter() - start_s) * 1e3)
    return statistics.median(latencies_ms[2:])


@pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed"
)
class TestOnnxruntimeProfile:
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path, monkeypatch):
        """The folder for temporary files."""
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        return tmp_path

    def test_it_leaves_no_file_behind(self, files, clips, folder):
        with open_runner(files[0], "onnxruntime", 1) as runner:
            runner.layer_times_ms(clips, 1)
            assert list(folder.iterdir()) == []

    def test_without_a_place_for_its_file_it_says_so(self, files, clips, folder, monkeypatch):
        monkeypatch.setattr(tempfile, "tempdir", str(folder / "absent"))
        refused = pytest.raises(BackendError, match="folder for temporary files")
        with open_runner(files[0], "onnxruntime", 1) as runner, refused:
            runner.layer_times_ms(clips, 1)

    def test_a_profile_that_is_cut_off_is_an_error(self, files, clips, monkeypatch):
        def cut_off(text):
            raise ValueError("Unterminated string")

        with open_runner(files[0], "onnxruntime", 1) as runner:
            monkeypatch.setattr(onnxruntime_runner.json, "loads", cut_off)
            with pytest.raises(BackendError, match="Unterminated string"):
                runner.layer_times_ms(clips, 1)


def test_times_of_one_name_are_added_and_the_median_taken():
    runs = [
        [("conv", 1.0), ("copy", 0.5), ("pool", 5.0), ("copy", 0.5)],
        [("conv", 3.0), ("copy", 0.25), ("pool", 5.0)],
        [("conv", 2.0), ("copy", 1.5), ("pool", 5.0)],
    ]
    times_ms = median_times_ms(runs)
    assert list(times_ms.items()) == [("conv", 2.0), ("copy", 1.0), ("pool", 5.0)]

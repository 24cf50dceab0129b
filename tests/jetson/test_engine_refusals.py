"""Engines that do not belong here, or are damaged: one error that says why and what to do."""

import hashlib

import pytest
from stand_ins import NO_GPU, RTX_3060, TITAN_XP, board

from clipedge.jetson.engine_manifest import EngineMismatchError, load_manifest, manifest_path
from clipedge.jetson.errors import BackendError, ModelFileError, UsageError
from clipedge.jetson.runners import open_runner

pytest.importorskip("onnxruntime", reason="onnxruntime computes for the stand-ins")

CARD = TITAN_XP._replace(compute_capability=(6, 2))  # a card of its own memory that 8.2.1 serves


class TestMachinesItDoesNotBelongTo:
    """Each is one error that says what differs and how to build it again."""

    @staticmethod
    def refusal(path, kind=BackendError):
        with pytest.raises(kind) as caught:
            open_runner(path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_another_tensorrt(self, engine):
        with board("8.2.1", CARD):
            path = engine()
        with board("8.6.1", CARD):
            text = self.refusal(path, EngineMismatchError)
        assert "tiny.engine was built with tensorrt 8.2.1.8; this machine has" in text
        assert "has tensorrt 8.6.1.6" in text
        assert "tiny.onnx --precision fp32 --batch 1 2" in text

    def test_another_gpu(self, engine):
        with board("8.6.1", RTX_3060):
            path = engine()
        with board("8.6.1", TITAN_XP):
            text = self.refusal(path, EngineMismatchError)
        assert "built for NVIDIA GeForce RTX 3060 (sm_86)" in text
        assert "this machine has NVIDIA TITAN Xp (sm_61)" in text

    @pytest.mark.parametrize(
        ("absent", "told"),
        [
            ({"gpu": NO_GPU}, "no CUDA-capable device is detected"),
            ({"pycuda": False}, "pycuda, which runs engines, is not installed"),
            ({"libcuda": False}, r"driver (libcuda.so.1) is not on this machine"),
            ({"release": None}, "TensorRT is not installed for this Python"),
        ],
        ids=["gpu", "pycuda", "driver", "tensorrt"],
    )
    def test_something_is_missing(self, engine, absent, told):
        with board("8.2.1"):
            path = engine()
        with board(**dict({"release": "8.2.1"}, **absent)):
            assert told in self.refusal(path)


class TestDamagedFiles:
    refusal = staticmethod(TestMachinesItDoesNotBelongTo.refusal)

    def test_truncated_or_changed(self, engine):
        with board("8.2.1"):
            path = engine()
            whole = path.read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
            assert "truncated or replaced. Rebuild: export" in self.refusal(path, ModelFileError)
            path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
            assert "tiny.engine is damaged" in self.refusal(path, ModelFileError)

    def test_without_its_manifest(self, engine):
        with board("8.2.1"):
            path = engine()
            manifest_path(path).unlink()
            assert "tiny.engine.json must lie beside it" in self.refusal(path, ModelFileError)

    def test_of_another_onnx_file_than_the_one_beside_it(self, engine, tmp_path):
        with board("8.2.1"):
            path = engine()
            (tmp_path / "tiny.onnx").write_bytes(b"another")
            assert "was built from another tiny.onnx" in self.refusal(path, EngineMismatchError)

    def test_what_tensorrt_itself_refuses(self, engine):
        with board("8.2.1"):
            path = engine()
            path.write_bytes(b"no engine")
            manifest = load_manifest(path)._replace(
                engine_bytes=9, engine_sha256=hashlib.sha256(b"no engine").hexdigest()
            )
            manifest_path(path).write_text(manifest.to_json())
            assert "TensorRT 8.2.1.8 cannot load the engine" in self.refusal(path)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"batches": (1, 4)}, r"batch sizes \(1, 2\), its manifest \(1, 4\)"),
            ({"frames": 8}, r"input of shape \(N, 3, 4, 16, 16\).*says \(N, 3, 8, 16, 16\)"),
        ],
    )
    def test_an_engine_that_is_not_what_its_manifest_says(self, engine, change, told):
        with board("8.2.1"):
            path = engine((1, 2))
            manifest = load_manifest(path)
            if "frames" in change:
                change = {"spec": manifest.spec._replace(**change)}
            manifest_path(path).write_text(manifest._replace(**change).to_json())
            with pytest.raises(ModelFileError, match=told):
                open_runner(path)

    def test_a_damaged_manifest_that_names_no_tensorrt(self, engine):
        with board("8.2.1"):
            path = engine()
            text = manifest_path(path).read_text().replace("tensorrt 8.2.1.8", "nothing")
            manifest_path(path).write_text(text)
            self.refusal(path, (ModelFileError, BackendError, UsageError))

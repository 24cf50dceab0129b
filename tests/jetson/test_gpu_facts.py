import pytest

from clipedge.jetson.gpu_facts import has_fast_fp16, has_int8, sm_name


@pytest.mark.parametrize("capability", [(5, 3), (6, 0), (6, 2), (7, 0), (7, 5), (8, 7), (12, 0)])
def test_these_compute_fast_in_fp16(capability):
    assert has_fast_fp16(capability)


@pytest.mark.parametrize("capability", [(5, 0), (5, 2), (6, 1)])
def test_these_do_not(capability):
    assert not has_fast_fp16(capability)


@pytest.mark.parametrize("capability", [(6, 1), (7, 0), (7, 2), (8, 6), (10, 0)])
def test_these_have_int8(capability):
    assert has_int8(capability)


@pytest.mark.parametrize("capability", [(5, 3), (6, 0), (6, 2)])
def test_a_tx2_and_the_other_early_ones_have_no_int8(capability):
    assert not has_int8(capability)


def test_a_capability_is_named_as_nvidia_names_it():
    assert sm_name((6, 2)) == "sm_62"

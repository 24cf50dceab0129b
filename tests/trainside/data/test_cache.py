"""The cache of decoded frames: what it gives back, its limit, full disks, other processes."""

import errno
import logging
import pickle
import subprocess
import sys

import numpy as np
import pytest

from clipedge.jetson.errors import ClipedgeError
from clipedge.trainside.data import cache as cache_module
from clipedge.trainside.data.cache import ClipCache

LIMIT = 1 << 24


def arrays(seed=0, count=3, shape=(5, 40, 30)):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)


def entries(folder):
    return sorted(path for path in folder.rglob("*.clips"))


def test_what_was_stored_is_found_with_its_facts(tmp_path):
    cache = ClipCache(tmp_path, LIMIT)
    stored, facts = arrays(), {"times_s": [0.0, 1 / 3], "problem": "a line\nand \u00fc"}
    assert cache.find("one") is None
    for entry in (cache.add("one", 3, iter(stored), facts), cache.find("one")):
        np.testing.assert_array_equal(entry.arrays, stored)
        assert entry.facts == facts
        assert not entry.arrays.flags.writeable
    assert cache.find("two") is None


def test_entries_are_mapped_not_copied(tmp_path):
    entry = ClipCache(tmp_path, LIMIT).add("one", 3, iter(arrays()), {})
    assert isinstance(entry.arrays.base, np.memmap)


def test_arrays_that_are_a_view_are_stored_in_order(tmp_path):
    stored = arrays().transpose(0, 3, 1, 2)
    entry = ClipCache(tmp_path, LIMIT).add("one", 3, iter(stored), {})
    np.testing.assert_array_equal(entry.arrays, stored)


def test_later_runs_and_other_processes_find_it(tmp_path):
    first = ClipCache(tmp_path, LIMIT)
    first.add("one", 3, iter(arrays()), {"n": 1})
    for other in (ClipCache(tmp_path, LIMIT), pickle.loads(pickle.dumps(first))):
        np.testing.assert_array_equal(other.find("one").arrays, arrays())
        assert other.used_bytes == first.used_bytes > 0


def test_the_limit_is_kept_by_all_processes_together(tmp_path):
    cache = ClipCache(tmp_path, LIMIT)
    code = (
        "import pickle, sys, numpy as np\n"
        "cache, first = pickle.load(sys.stdin.buffer)\n"
        "for number in range(first, first + 20):\n"
        "    cache.add(str(number), 1, iter([np.zeros((1 << 20,), np.uint8)]), {})\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) for _ in range(2)
    ]
    for number, process in enumerate(running):
        process.stdin.write(pickle.dumps((cache, 20 * number)))
        process.stdin.close()
    assert [process.wait(timeout=100) for process in running] == [0, 0]
    stored = len(entries(tmp_path))
    assert 16 <= stored <= 17  # of 40: 16 fit, and one may slip in beside
    assert cache.used_bytes >= stored << 20


def test_an_entry_too_large_for_the_cache_leaves_room_for_others(tmp_path):
    cache = ClipCache(tmp_path, LIMIT)
    assert cache.add("large", 1, iter([np.zeros((LIMIT,), np.uint8)]), {}) is None
    assert not cache.full
    assert cache.add("small", 3, iter(arrays()), {}) is not None


def test_a_full_cache_says_so_and_takes_no_more(tmp_path):
    cache = ClipCache(tmp_path, 1 << 16)
    shape = (1 << 14,)
    while not cache.full:
        cache.add(str(len(entries(tmp_path))), 1, iter(arrays(0, 1, shape)), {})
    assert len(entries(tmp_path)) == 1  # the ledger counts in 64 KiB
    assert cache.find("0") is not None

    def refuse():
        raise AssertionError("taken")
        yield

    assert cache.add("more", 1, refuse(), {}) is None


@pytest.mark.parametrize("wrong", ["shape", "fewer", "more"])
def test_arrays_that_are_not_what_was_said_are_not_stored(tmp_path, wrong):
    given = {
        "shape": [*arrays(count=2), arrays(shape=(4, 40, 30))[0]],
        "fewer": arrays(count=2),
        "more": arrays(count=4),
    }[wrong]
    cache = ClipCache(tmp_path, LIMIT)
    assert cache.add("one", 3, iter(given), {}) is None
    assert cache.find("one") is None
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_full_disk_is_one_warning_and_no_end(tmp_path, monkeypatch, caplog):
    def fail(*rest, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    caches = [ClipCache(tmp_path, LIMIT) for _ in range(2)]
    monkeypatch.setattr(cache_module.os, "fdopen", fail)
    with caplog.at_level(logging.WARNING):
        for cache in caches:
            for key in ("one", "two"):
                assert cache.add(key, 3, iter(arrays()), {}) is None
            assert cache.full
    assert len(caplog.records) == 1
    assert "no longer cached" in caplog.text
    assert "No space left" in caplog.text
    assert not entries(tmp_path)


def test_an_exception_while_arrays_are_made_leaves_nothing(tmp_path):
    def broken():
        yield arrays()[0]
        raise ClipedgeError("the third picture")

    cache = ClipCache(tmp_path, LIMIT)
    with pytest.raises(ClipedgeError, match="third picture"):
        cache.add("one", 3, broken(), {})
    assert cache.find("one") is None
    assert not cache.full
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kept", [0, 10, 2000])
def test_an_entry_that_was_cut_is_made_again(tmp_path, kept):
    cache = ClipCache(tmp_path, LIMIT)
    cache.add("one", 3, iter(arrays()), {})
    (path,) = entries(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    assert cache.find("one") is None
    assert cache.add("one", 3, iter(arrays()), {}) is not None
    assert cache.find("one") is not None


def test_entries_of_another_version_of_the_code_are_thrown_away(tmp_path, monkeypatch):
    cache = ClipCache(tmp_path, LIMIT)
    cache.add("one", 3, iter(arrays()), {})
    monkeypatch.setattr(cache_module, "_code_digest", lambda: "0123456789ab")
    assert ClipCache(tmp_path, LIMIT).find("one") is None
    assert not entries(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ClipedgeError, match="file"):
        ClipCache(tmp_path / "file" / "cache", LIMIT)

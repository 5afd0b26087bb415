import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from hebae import data
from hebae.data.images import map_in_threads
from hebae.errors import HebaeError

NAMES = [f"{number:03}.png" for number in range(150)]


@pytest.fixture
def folder(tmp_path, write_images):
    return write_images(tmp_path / "many", NAMES, mode="L", size=(4, 4))


def contents(cache):
    """What is in the cache but for the locks."""
    return [path for path in (cache / "images").iterdir() if path.suffix != ".lock"]


def test_only_what_has_changed_is_decoded_again(folder, forbid_decoding, image_bytes):
    first = data.load(folder, validation_size=0)
    whole = (folder / NAMES[7]).read_bytes()
    (folder / NAMES[7]).write_bytes(image_bytes(999, mode="L", size=(4, 4)))
    assert data.load(folder).fingerprint != first.fingerprint
    (folder / NAMES[7]).write_bytes(whole)
    first = data.load(folder, validation_size=0)
    forbid_decoding()
    second = data.load(folder, validation_size=0)
    assert isinstance(second.train.values, np.memmap) and not second.train.values.flags.writeable
    np.testing.assert_array_equal(second.train.values, first.train.values)
    # Another split needs no decoding either.
    assert data.load(folder, validation_size=7).fingerprint == first.fingerprint


def test_a_failure_leaves_nothing_behind(folder, cache):
    broken = folder / NAMES[140]
    whole = broken.read_bytes()
    broken.write_bytes(b"damaged")
    with pytest.raises(HebaeError, match=broken.name):
        data.load(folder)
    assert contents(cache) == []
    broken.write_bytes(whole)
    assert len(data.load(folder).train) == 135


KILLED = """
import os, signal, sys
from hebae import data
from hebae.data import images
original, calls = images.open_image, []
def die_halfway(*arguments):
    calls.append(1)
    if len(calls) == 100:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)
images.open_image = die_halfway
data.load(sys.argv[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_what_a_killed_process_left_is_not_used_and_is_removed(folder, cache):
    killed = subprocess.run([sys.executable, "-c", KILLED, folder], check=False)
    assert killed.returncode == -signal.SIGKILL
    [left] = contents(cache)
    assert left.suffix == ".partial"
    assert len(data.load(folder).train) == 135
    [made] = contents(cache)
    assert made.suffix == ""


def test_two_processes_at_once_prepare_it_once(folder, cache):
    script = "import sys; from hebae import data; print(data.load(sys.argv[1]).train.values.sum())"
    processes = [
        subprocess.Popen([sys.executable, "-c", script, folder], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    sums = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    assert sums == {b"%d\n" % data.load(folder).train.values.sum()}
    assert len(contents(cache)) == 1


def test_a_cache_that_cannot_be_written_is_named(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HEBAE_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(HebaeError, match=r"HEBAE_CACHE_DIR .*file is a file; name a"):
        data.load(folder)


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_on_any_number_of_cores_the_data_are_the_same(cores, folder, monkeypatch):
    alone = data.load(folder)
    (folder / NAMES[0]).touch()  # so that it is prepared again
    monkeypatch.setattr("joblib.cpu_count", lambda: cores)
    again = data.load(folder)
    np.testing.assert_array_equal(again.train.values, alone.train.values)
    assert again.fingerprint == alone.fingerprint


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_give_results_in_order_whichever_is_done_first(workers):
    second_done = threading.Event()

    def work(item):
        if item == 0 and workers > 1:
            assert second_done.wait(10)
        if item == 1:
            second_done.set()
        return -item

    assert list(map_in_threads(work, range(20), workers)) == [-item for item in range(20)]


def test_threads_are_only_a_few_items_ahead():
    taken = []

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    results = map_in_threads(abs, items(), workers=2, ahead=3)
    for given in range(1, 50):
        next(results)
        assert len(taken) <= given + 3
    results.close()
    assert len(taken) <= 49 + 3


def test_an_error_in_a_thread_or_in_the_items_comes_in_its_place():
    def items():
        yield from (1, 2, 0)
        raise KeyError("the items")

    results = map_in_threads(lambda item: 1 // item, items(), workers=1, ahead=0)
    assert [next(results), next(results)] == [1, 0]
    with pytest.raises(ZeroDivisionError):
        next(results)
    with pytest.raises(KeyError, match="the items"):
        list(map_in_threads(abs, (number for number in items()), workers=2))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("hebae")]

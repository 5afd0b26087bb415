import threading

import pytest

from hebae.data.images import map_in_threads


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

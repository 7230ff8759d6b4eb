"""Work that takes turns: the results do not depend on threads, and no item is ahead of the others."""

from __future__ import annotations

import pytest

from planner.common.threads import Turns, finished, in_turns


def counting(log: list[str], item: tuple[str, int]) -> Turns[int]:
    """So many turns, each noted; returns how many there were."""
    name, turns = item
    for _ in range(turns):
        log.append(name)
        yield
    return turns


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    """Of long items, short ones and one without a turn."""
    lengths = [7, 0, 300, 2]
    log: list[str] = []
    found = in_turns(lambda item: counting(log, item), [(str(n), n) for n in lengths], threads)
    assert found == lengths
    assert len(log) == sum(lengths)
    assert in_turns(lambda item: counting(log, item), [], threads) == []


def test_items_are_as_far_at_any_time() -> None:
    """On one thread one turn each, round by round."""
    log: list[str] = []
    in_turns(lambda item: counting(log, item), [("a", 3), ("b", 1), ("c", 2)], 1)
    assert "".join(log) == "abcaca"
    assert finished(counting(log, ("d", 2))) == 2


def test_errors_reach_the_caller() -> None:
    """With one thread and with two."""

    def failing(item: int) -> Turns[None]:
        yield
        raise ZeroDivisionError(item)

    for threads in (1, 2):
        with pytest.raises(ZeroDivisionError):
            in_turns(failing, [1, 2], threads)

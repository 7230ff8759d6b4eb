"""Annealing of orders and devices together, for job shops: one pass of every operator, transfers free, no caps.

Where nothing travels and nothing is held, an operator may change its device within a move, so placement and order
are searched at once: a task on the critical path is exchanged with the one it waits for, or goes to another device
that may run it, about where its start puts it there (the two neighbourhoods of Dauzere-Peres and Paulli, "An
integrated approach for modeling and solving the general multiprocessor job-shop scheduling problem", 1997).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np

from planner.control import Control
from planner.problem import Placement, Problem
from planner.problem.shop import is_job_shop
from planner.schedule.classes import Floats, Ints
from planner.schedule.orders import (
    COLD,
    HOT,
    ITERATIONS_AT_MOST,
    PLAYED_AT_MOST,
    SLICE,
    Orders,
    shift,
    waits,
)
from planner.schedule.playing import Parts, play
from planner.schedule.search import ListSearch

MOVED = 0.4
"""Share of moves that change a device, where there is a choice."""


def is_shop(problem: Problem) -> bool:
    """Whether a problem is a job shop with a choice of devices."""
    return is_job_shop(problem) and int(problem.runs_on.sum(axis=1).max()) > 1


@numba.njit(cache=True)
def _reinsert(seq, seq_ptr, owner, i, r, q, j):  # type: ignore[no-untyped-def]
    """Take the element at i of resource r to place j of resource q; j counts with the element taken out."""
    moved = seq[i]
    for x in range(i, len(seq) - 1):
        seq[x] = seq[x + 1]
    for x in range(r + 1, len(seq_ptr)):
        seq_ptr[x] -= 1
    at = seq_ptr[q] + j
    for x in range(len(seq) - 1, at, -1):
        seq[x] = seq[x - 1]
    seq[at] = moved
    for x in range(q + 1, len(seq_ptr)):
        seq_ptr[x] += 1
    for s in range(len(seq_ptr) - 1):
        for x in range(seq_ptr[s], seq_ptr[s + 1]):
            owner[x] = s


@numba.njit(cache=True)
def anneal_shop(  # type: ignore[no-untyped-def]
    p, seq_ptr, seq, best_ptr, best_seq, options_ptr, options, lengths, best, begin, end, total, hot, cold, goal, rng
):  # fmt: skip
    """Iterations ``begin`` to ``end`` of ``total``; the best makespan (ticks), its orders in ``best_ptr, best_seq``.

    ``options[options_ptr[a]:options_ptr[a + 1]]`` are the resources that class a may use, ``lengths`` its ticks
    there. ``p.res`` and ``p.ticks`` follow the current orders.
    """
    n = len(p.tasks)
    start, start_2 = np.zeros((n, 1)), np.zeros((n, 1))
    turn = np.zeros((n, 1), dtype=np.int64)
    cause, cause_2 = np.zeros((n, 1), dtype=np.int64), np.zeros((n, 1), dtype=np.int64)
    place, place_2 = np.zeros((n, 1), dtype=np.int64), np.zeros((n, 1), dtype=np.int64)
    first, second = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    owner = np.zeros(len(seq), dtype=np.int64)
    for r in range(len(seq_ptr) - 1):
        for x in range(seq_ptr[r], seq_ptr[r + 1]):
            owner[x] = r
    value, last = play(p, seq_ptr, seq, np.inf, start, turn, cause, place)
    found = waits(p, seq, owner, last, cause, place, first, second)
    path = np.zeros(n, dtype=np.int64)  # the critical path
    for step in range(begin, end):
        if best <= goal:
            break
        temperature = hot * (cold / hot) ** (step / total)
        limit = value - temperature * np.log(1.0 - rng.random()) + 1e-9
        on_path = 0
        task = last
        while task >= 0:
            path[on_path] = task
            on_path += 1
            task = cause[task, 0]
        a = path[int(rng.random() * on_path)]
        choices = options_ptr[a + 1] - options_ptr[a]
        if choices > 1 and (found == 0 or rng.random() < MOVED):
            r = p.res[p.res_ptr[a]]
            o = options_ptr[a] + int(rng.random() * choices)
            q = options[o]
            if q == r:
                continue
            j = 0
            while j < seq_ptr[q + 1] - seq_ptr[q] and start[seq[seq_ptr[q] + j], 0] < start[a, 0]:
                j += 1
            j = min(max(j + int(rng.random() * 3) - 1, 0), seq_ptr[q + 1] - seq_ptr[q])
            i = place[a, 0]
            ticks, back = p.ticks[a], i - seq_ptr[r]
            _reinsert(seq, seq_ptr, owner, i, r, q, j)
            p.res[p.res_ptr[a]], p.ticks[a] = q, lengths[o]
            then, then_last = play(p, seq_ptr, seq, limit, start_2, turn, cause_2, place_2)
            if then < 0 or then > limit:
                _reinsert(seq, seq_ptr, owner, seq_ptr[q] + j, q, r, back)
                p.res[p.res_ptr[a]], p.ticks[a] = r, ticks
                continue
        elif found > 0:
            c = int(rng.random() * found)
            i, j = first[c], second[c]
            shift(seq, i, j)
            then, then_last = play(p, seq_ptr, seq, limit, start_2, turn, cause_2, place_2)
            if then < 0 or then > limit:
                shift(seq, j, i)
                continue
        else:
            break
        value, last = then, then_last
        start, start_2 = start_2, start
        cause, cause_2 = cause_2, cause
        place, place_2 = place_2, place
        found = waits(p, seq, owner, last, cause, place, first, second)
        if value < best:
            best = value
            best_seq[:] = seq
            best_ptr[:] = seq_ptr
    return best


_anneal_shop: Callable[..., float] = anneal_shop


@dataclass
class ShopSearch:
    """Annealing of a job shop over devices and orders. Ticks are those of the search it begins with."""

    search: ListSearch
    options_ptr: Ints  # by class: the resources that it may use, and its ticks there
    options: Ints
    lengths: Floats

    @staticmethod
    def of(search: ListSearch) -> ShopSearch:
        """Begin where a list search has come to."""
        problem, classes = search.full.problem, search.classes
        options: list[int] = []
        lengths: list[float] = []
        ptr = [0]
        for i in classes.operator.tolist():
            for d in np.flatnonzero(problem.runs_on[i]).tolist():
                options.append(2 * d + int(problem.on_comm[i]))
                lengths.append(float(problem.duration[i, 0, d]) / classes.tick)
            ptr.append(len(options))
        return ShopSearch(search, np.array(ptr), np.array(options), np.array(lengths))

    def improve(self, control: Control, target: float, rng: np.random.Generator) -> tuple[Placement, Orders] | None:
        """One annealing until ``target`` seconds; something better, None where nothing was met."""
        search, classes = self.search, self.search.classes
        if search.best is None:
            return None
        orders = Orders.of(classes, search.best.start, search.best.turn)
        parts: Parts = search.orders.parts
        # no tails: they depend on the devices
        parts = parts._replace(res=parts.res.copy(), ticks=parts.ticks.copy(), tail=np.zeros(classes.n))
        seq_ptr, seq = orders.seq_ptr.copy(), orders.seq.copy()
        best_ptr, best_seq = seq_ptr.copy(), seq.copy()
        unit = search.scales.microbatch / classes.tick
        total = max(1, min(ITERATIONS_AT_MOST, PLAYED_AT_MOST // classes.n))
        reached = search.makespan
        for step in range(0, total, max(1, SLICE // classes.n)):
            end = min(total, step + max(1, SLICE // classes.n))
            reached = _anneal_shop(
                parts, seq_ptr, seq, best_ptr, best_seq, self.options_ptr, self.options, self.lengths, reached,
                step, end, total, HOT * unit, COLD * unit, target / classes.tick * (1 + 1e-9), rng,
            )  # fmt: skip
            if control.over:
                break
        if reached >= search.makespan:
            return None
        device_of = np.zeros(classes.n, dtype=np.int64)
        device_of[classes.operator[best_seq]] = np.repeat(np.arange(len(best_ptr) - 1), np.diff(best_ptr)) // 2
        return Placement.single(tuple(device_of.tolist()), "annealed"), Orders.plain(best_ptr, best_seq)

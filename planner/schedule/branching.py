"""Branching with learning for job shops: shorter and shorter schedules, and the proof that there is none shorter.

A job shop (see ``planner.problem.shop``) is a graph of one pass and one microbatch, transfers free, no memory, each
operator with its choice of devices. All times are whole ticks: of the grid where the problem has one; else each
duration is rounded *down* to a tiny unit, so that what is impossible in ticks is impossible in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from planner.control import Control
from planner.problem import Problem, Step
from planner.rows import rows
from planner.schedule.branching_clauses import Clauses, keep_clause
from planner.schedule.branching_learn import CUT, EXHAUSTED, FOUND, GIVEN_UP, PAUSED, Taste
from planner.schedule.branching_table import look, table_of
from planner.schedule.branching_trail import CONFLICTS, FALSE, NONE, SHORTEST, TRUE, Shop, Trail, empty_trail
from planner.schedule.classes import Floats, Ints

PAIRS_AT_MOST = 20_000
TICKS_AT_MOST = 2**40
LARGE = 4_000
"""Pairs of tasks."""

PROBES = 256
"""Limits of the makespan that may be tried and not proven right."""

ROWS = 400_000
POOL = 4_000_000
CLAUSES_AT_MOST = 100_000
LITERALS_AT_MOST = 8_000_000


@dataclass(frozen=True)
class Answer:
    """What came of a question: a schedule, or the proof that there is none, or neither.

    ``exhausted``: the proof holds for every schedule of interest. ``cut``: the contradictions allowed did not
    suffice. ``given_up``: neither will more. ``contradictions``: how many it took.
    """

    device_of: Ints
    start: Ints | None  # ticks
    exhausted: bool
    cut: bool
    given_up: bool
    contradictions: int = 0


@dataclass
class Branching:
    """The state of the branching on one problem. Times are in ticks of ``unit`` seconds."""

    problem: Problem
    unit: float
    exact: bool  # whether durations are whole ticks, not rounded down
    shop: Shop
    trail: Trail
    clauses: Clauses
    taste: Taste
    table: Ints  # of all arrays above
    ticks: Ints  # (operator, device)
    probes: dict[int, int]  # makespan: the literal that it is not exceeded

    @staticmethod
    def of(problem: Problem, longest: float) -> Branching | None:
        """Prepare for a problem of which a schedule of ``longest`` seconds is known; None where it is too large."""
        if longest <= 0:
            return None
        unit, exact = _unit(problem, longest)
        duration = np.where(problem.runs_on, problem.duration[:, 0, :], 0.0)
        ticks = (np.rint(duration / unit) if exact else np.floor(duration / unit)).astype(np.int64)
        builder = _Builder(problem, ticks)
        if builder.n_pairs > PAIRS_AT_MOST:
            return None
        shop, first_probe = builder.shop()
        trail = empty_trail(problem.n_operators, first_probe + PROBES, 2 * problem.n_devices, ROWS, POOL)
        for i in range(problem.n_operators):
            trail.bound[3 * i + SHORTEST] = ticks[i][problem.runs_on[i]].min()
            if problem.runs_on[i].sum() == 1:
                trail.chosen[i] = shop.opt_stream[shop.opt_ptr[i]]
        # every task is looked at once: what has no bound yet follows from a bound on all ends
        clauses = Clauses(
            lits=np.empty(LITERALS_AT_MOST, np.int64),
            begin=np.empty(CLAUSES_AT_MOST, np.int64),
            size=np.empty(CLAUSES_AT_MOST, np.int64),
            worth=np.empty(CLAUSES_AT_MOST, np.int64),
            head=np.full(2 * len(trail.where), -1, np.int64),
            next=np.empty(2 * CLAUSES_AT_MOST, np.int64),
        )
        taste = Taste(np.zeros(len(trail.where)), np.ones(1), np.full(len(trail.where), -1, np.int64))
        table = table_of(trail, shop, clauses, taste)
        branching = Branching(problem, unit, exact, shop, trail, clauses, taste, table, ticks, {})
        builder.keep_earliest(trail)
        for lits in builder.clauses():
            branching._add(lits)
        return branching

    def _add(self, lits: list[int]) -> None:
        keep_clause(self.trail, self.clauses, lits, len(lits), 0)

    def follow(self, device_of: Ints, start: Floats) -> None:
        """Prefer the choices of a schedule: the device of each operator, and starts (in any unit)."""
        hint, shop = self.taste.hint, self.shop
        for var in range(1, len(hint)):
            a, b = shop.arc[2 * var].tolist()
            if a >= 0:
                hint[var] = int(start[a] < start[b])
            elif shop.task_of[var] >= 0:
                hint[var] = int(shop.opt_stream[shop.option_of[var]] // 2 == device_of[shop.task_of[var]])

    @property
    def is_ready(self) -> bool:
        """Whether a question is looked at at once, since nothing has to be compiled before."""
        return look.is_ready

    @property
    def is_large(self) -> bool:
        """Whether a single schedule takes so long to find that other methods find many meanwhile."""
        return len(self.shop.adj) // 2 > LARGE

    def ask(self, at_most: int, most: int, budget: int, control: Control) -> Answer:
        """Look for a schedule of at most ``at_most`` ticks, for so many contradictions or until time is over.

        ``most``: what no schedule of interest exceeds, from now on.
        """
        if at_most < most and at_most not in self.probes and len(self.probes) == PROBES:
            return Answer(self.trail.found_on // 2, None, exhausted=False, cut=True, given_up=False)
        assumed = TRUE if at_most >= most else self._probe(at_most)
        before = int(self.trail.reg[CONFLICTS])
        answer = PAUSED
        while answer == PAUSED and not control.over:
            left = budget - (int(self.trail.reg[CONFLICTS]) - before)
            answer = look(self.table.ctypes.data, assumed, most, left)
        start = self.trail.found_start.copy() if answer == FOUND else None
        device_of = self.trail.found_on // 2
        return Answer(
            device_of,
            start,
            exhausted=answer == EXHAUSTED,
            cut=answer in (CUT, PAUSED),
            given_up=answer == GIVEN_UP,
            contradictions=int(self.trail.reg[CONFLICTS]) - before,
        )

    def _probe(self, at_most: int) -> int:
        """The literal that the makespan is at most this."""
        if at_most not in self.probes:
            var = len(self.shop.most) - PROBES + len(self.probes)
            self.shop.most[var] = at_most
            self.probes[at_most] = 2 * var
        return self.probes[at_most]


def _unit(problem: Problem, longest: float) -> tuple[float, bool]:
    """The tick, and whether all durations are multiples of it."""
    step = Step.of(problem).seconds
    if step is not None and longest / step < TICKS_AT_MOST:
        return step, True
    return 2.0 ** (math.frexp(longest)[1] - 40), False  # a power of two: dividing by it rounds nothing


class _Builder:
    """Variables, arcs and clauses of a job shop."""

    def __init__(self, problem: Problem, ticks: Ints) -> None:
        self.problem, self.ticks = problem, ticks
        n = problem.n_operators
        self.before = np.zeros((n, n), dtype=bool)
        for i in problem.topological:
            for j in problem.inputs[i]:
                self.before[:, i] |= self.before[:, j]
                self.before[j, i] = True
        self.options = [np.flatnonzero(r).tolist() for r in problem.runs_on]
        self.pairs: list[tuple[int, int]] = [(a, b) for a, b in np.argwhere(np.triu(self._may_meet(), 1)).tolist()]
        self.n_pairs = len(self.pairs)

    def _may_meet(self) -> npt.NDArray[np.bool_]:
        """Pairs of operators that may run on the same stream, in either order, at least one of them for some time."""
        problem = self.problem
        runs = problem.runs_on.astype(np.float64)  # numpy multiplies matrices fast where they are floats
        takes_time = runs * (self.ticks > 0)
        meet = runs @ takes_time.T > 0
        same_stream = problem.on_comm[:, None] == problem.on_comm
        found: npt.NDArray[np.bool_] = (meet | meet.T) & same_stream & ~(self.before | self.before.T)
        return found

    def _shared(self, a: int, b: int) -> list[int]:
        return [d for d in self.options[a] if self.problem.runs_on[b, d]]

    def shop(self) -> tuple[Shop, int]:
        """The tables, and the first variable that is free for a limit of the makespan."""
        problem, n = self.problem, self.problem.n_operators
        arcs: list[tuple[int, int]] = [(-1, -1), (-1, -1)]
        task_of, option_of = [-1], [-1]
        pair = np.full((n, n), NONE, dtype=np.int64)
        pair[self.before] = TRUE
        pair[self.before.T] = FALSE
        opt_ptr, opt_lit = [0], list[int]()
        opt_stream, opt_ticks = list[int](), list[int]()
        for i, devices in enumerate(self.options):
            for d in devices:
                opt_lit.append(TRUE if len(devices) == 1 else len(arcs))
                if len(devices) > 1:
                    arcs += [(-1, -1), (-1, -1)]
                    task_of.append(i)
                    option_of.append(len(opt_stream))
                opt_stream.append(2 * d + int(problem.on_comm[i]))
                opt_ticks.append(int(self.ticks[i, d]))
            opt_ptr.append(len(opt_stream))
        for a, b in self.pairs:
            pair[a, b] = len(arcs)
            if len(self.options[a]) == len(self.options[b]) == 1:  # they meet whatever is decided
                pair[b, a] = len(arcs) + 1
                arcs += [(a, b), (b, a)]
                count = 1
            else:
                pair[b, a] = len(arcs) + 2
                arcs += [(a, b), (-1, -1), (b, a), (-1, -1)]
                count = 2
            task_of += [-1] * count
            option_of += [-1] * count
        variables = len(arcs) // 2
        arcs += [(-1, -1)] * (2 * PROBES)
        task_of += [-1] * PROBES
        option_of += [-1] * PROBES
        on: list[list[int]] = [[] for _ in range(2 * problem.n_devices)]
        owner = np.repeat(np.arange(n), np.diff(opt_ptr))
        for o, r in enumerate(opt_stream):
            on[r].append(o)
        met: list[list[int]] = [[] for _ in range(n)]
        for a, b in self.pairs:
            met[a].append(b)
            met[b].append(a)
        (on_ptr, on_flat), (met_ptr, met_flat) = rows(on), rows(met)
        self.pair, self.opt_lit, self.opt_ptr = pair, opt_lit, opt_ptr
        shop = Shop(
            *rows(problem.consumers),
            *rows(problem.inputs),
            sink=np.array([not c for c in problem.consumers], dtype=np.int64),
            opt_ptr=np.array(opt_ptr, dtype=np.int64),
            opt_stream=np.array(opt_stream, dtype=np.int64),
            opt_ticks=np.array(opt_ticks, dtype=np.int64),
            opt_lit=np.array(opt_lit, dtype=np.int64),
            pair=pair,
            adj_ptr=met_ptr,
            adj=met_flat,
            arc=np.array(arcs, dtype=np.int64),
            task_of=np.array(task_of, dtype=np.int64),
            option_of=np.array(option_of, dtype=np.int64),
            most=np.full(len(task_of), -1, dtype=np.int64),
            on_ptr=on_ptr,
            on=on_flat,
            on_task=owner[on_flat],
        )
        return shop, variables

    def keep_earliest(self, trail: Trail) -> None:
        """Starts that follow from the inputs alone."""
        for i in self.problem.topological:
            for j in self.problem.inputs[i]:
                trail.bound[3 * i] = max(trail.bound[3 * i], trail.bound[3 * j] + trail.bound[3 * j + SHORTEST])

    def clauses(self) -> Iterator[list[int]]:
        """Every task runs somewhere; two tasks on one stream have an order."""
        where = [
            dict(zip(devices, self.opt_lit[self.opt_ptr[i] : self.opt_ptr[i + 1]], strict=True))
            for i, devices in enumerate(self.options)
        ]
        for here in where:
            if len(here) > 1:
                yield list(here.values())
        for a, b in self.pairs:
            if len(where[a]) == len(where[b]) == 1:
                continue
            for d in self._shared(a, b):
                if self.ticks[a, d] or self.ticks[b, d]:
                    both = [x[d] ^ 1 for x in (where[a], where[b]) if x[d] != TRUE]
                    yield [int(self.pair[a, b]), int(self.pair[b, a]), *both]

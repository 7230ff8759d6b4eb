"""An LNS window: a MIP re-optimises a part of a schedule, all else as it is.

The window is a run of tasks in order of start. What starts before it stays as it is. What starts after it keeps its
order, and counts by the longest path after each task of the window. Inside, some pairs of tasks on one stream or
channel may change places: a binary each, big-M rows as tight as the makespan allows. Memory is linear in the binaries:
a forward pass may start only if what is taken before it, less what is released before it, leaves enough memory. The MIP
starts from the current order, so that the result is never worse.

The objective is the makespan, plus how close the paths through the window come to the current makespan: of many
critical paths one window shortens some, and a later window the rest.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from planner.common.budget import Control
from planner.common.highs import Model
from planner.scheduling.orders.precedence import PrecedenceGraph

NEAR = 1e-3
"""Paths at most this much shorter than the makespan (relatively) are worth shortening."""

SPAN = 100.0
"""Length of a window in the solver's unit, since the solver's tolerances are absolute."""

TOLERANCE = 1e-7

GAP = 1e-4
"""Relative gap at which the solver may end."""


@dataclass(frozen=True)
class Window:
    """The tasks ``first`` to before ``past``, by start.

    Two of them may change places if they share one of ``resources`` (None: any), are at most ``reach`` places apart
    there, and one of them is of ``microbatches`` (None: any).
    """

    first: int
    past: int
    reach: int
    resources: frozenset[int] | None = None
    microbatches: frozenset[int] | None = None


@dataclass(frozen=True)
class SolvedWindow:
    """``segments``: the window's tasks in their new order, on the resources where it has changed; may be empty.

    ``exhausted``: there is nothing better, within the solver's gap. ``pairs``: how many could change places.
    ``effort``: tasks, pairs and simplex iterations. ``nodes``: of the branch-and-bound tree.
    """

    segments: dict[int, list[int]]
    exhausted: bool
    pairs: int
    effort: int
    nodes: int


def solve_window(graph: PrecedenceGraph, window: Window, control: Control, nodes: int) -> SolvedWindow:
    """Re-optimise a window, within so many ``nodes`` of branch and bound, on one thread."""
    return _WindowModel(graph, window).solve(control, nodes)


class _WindowModel:
    """The model of one window. Its tasks have numbers of their own, from 0, in order of start."""

    def __init__(self, graph: PrecedenceGraph, window: Window) -> None:
        self.graph, self.window = graph, window
        self.first, self.n = window.first, window.past - window.first
        self.begin = graph.start[window.first]
        own = slice(window.first, window.past)
        self.length, self.start, self.end = graph.length[own], graph.start[own], graph.end[own]
        self.unit = (max(self.end) - self.begin) / SPAN or 1.0
        self.rows = self._rows()
        self.free: list[tuple[int, int]] = []
        self.before: list[list[int]] = [[] for _ in range(self.n)]  # what each task waits for in every order
        self._fix()
        self.sure = self._closure()
        self.free = [(u, v) for u, v in self.free if not self.sure[v] >> u & 1]
        self.head, self.tail, self.leave = self._heads(), [0.0] * self.n, [0.0] * self.n
        self._tails()

    def _inside(self, x: int) -> bool:
        return self.window.first <= x < self.window.past

    def _rows(self) -> dict[int, list[int]]:
        """The window's tasks by resource, in turn."""
        rows: dict[int, list[int]] = {}
        for u in range(self.n):
            for r in self.graph.resources[self.first + u]:
                rows.setdefault(r, []).append(u)
        return rows

    def _may_change(self, r: int, u: int, v: int, apart: int) -> bool:
        window, graph = self.window, self.graph
        if apart > window.reach or (window.resources is not None and r not in window.resources):
            return False
        x, y = self.first + u, self.first + v
        if graph.class_of[x] == graph.class_of[y]:
            return False
        some = window.microbatches
        return some is None or int(graph.index[x]) in some or int(graph.index[y]) in some

    def _fix(self) -> None:
        """Precedence, the pairs that may change places, and the order of those that may not."""
        pairs: set[tuple[int, int]] = set()
        for r, row in self.rows.items():
            for j, v in enumerate(row):
                fixed: list[int] = []  # places before j, nearest first, whose tasks must come before it
                for i in reversed(range(j)):
                    if self._may_change(r, row[i], v, j - i):
                        pairs.add((row[i], v))
                    elif not any(self._stays(r, row, i, m) for m in fixed):
                        fixed.append(i)
                self.before[v].extend(row[i] for i in fixed)
        self.free = sorted(pairs)
        for v in range(self.n):
            self.before[v].extend(x - self.first for x in self.graph.inputs(self.first + v) if self._inside(x))
        for d in range(self.graph.classes.problem.n_devices):
            self._keep_memory(d)

    def _stays(self, r: int, row: Sequence[int], i: int, m: int) -> bool:
        return not self._may_change(r, row[i], row[m], m - i)

    def _may_reorder(self, d: int) -> bool:
        """Whether the order in which a device's memory is taken may change."""
        resources = self.window.resources
        return resources is None or bool(resources & {2 * d, 2 * d + 1})

    def _keep_memory(self, d: int) -> None:
        """A task waits for memory from the same tasks as now, where orders stay or the two share no resource."""
        graph = self.graph
        again = self._may_reorder(d)
        for x, _ in graph.taken[d]:
            if not self._inside(x):
                continue
            v = x - self.first
            for y in graph.memory[x]:
                if self._inside(y) and not (again and set(graph.resources[x]) & set(graph.resources[y])):
                    self.before[v].append(y - self.first)

    def _closure(self) -> list[int]:
        """For each task the set (as bits) of those that come before it in every order."""
        sure = [0] * self.n
        for v in range(self.n):
            for u in self.before[v]:
                sure[v] |= sure[u] | 1 << u
        return sure

    def _heads(self) -> list[float]:
        """The earliest start of each task, after what has started before the window."""
        graph = self.graph
        head = [self.begin] * self.n
        for r, row in self.rows.items():
            at = bisect_left(graph.rows[r], self.first)
            if at:
                idle = graph.end[graph.rows[r][at - 1]]
                for u in row:
                    head[u] = max(head[u], idle)
        for v in range(self.n):
            x = self.first + v
            outside = [y for y in (*graph.inputs(x), *graph.memory[x]) if not self._inside(y)]
            head[v] = max([head[v], *(graph.end[y] for y in outside)])
            head[v] = max([head[v], *(head[u] + self.length[u] for u in self.before[v])])
        return head

    def _tails(self) -> None:
        """The longest path after each task's end: directly out of the window (``leave``), and over all (``tail``)."""
        graph = self.graph
        for row in self.graph.rows:
            at = bisect_left(row, self.window.past)
            if at < len(row):
                after = graph.length[row[at]] + graph.tail[row[at]]
                for x in row[bisect_left(row, self.first) : at]:
                    self.leave[x - self.first] = max(self.leave[x - self.first], after)
        for u in range(self.n):
            later = (y for y in graph.followers(self.first + u) if y >= self.window.past)
            self.leave[u] = max([self.leave[u], *(graph.length[y] + graph.tail[y] for y in later)])
        self.tail = list(self.leave)
        for v in reversed(range(self.n)):
            for u in self.before[v]:
                self.tail[u] = max(self.tail[u], self.length[v] + self.tail[v])

    def solve(self, control: Control, nodes: int) -> SolvedWindow:
        """Build the model, solve it, and read the orders off its binaries."""
        if not self.free:
            return SolvedWindow({}, True, 0, self.n, 0)
        self.model = Model()
        self.values: list[float] = []  # in the current order
        makespan = self._units(self.graph.makespan - self.begin)
        self.makespan = self._column(0.0, makespan, makespan, float(self.n))
        self.at = []
        for u in range(self.n):
            low, now = self._units(self.head[u] - self.begin), self._units(self.start[u] - self.begin)
            high = self._units(self.graph.makespan - self.tail[u] - self.length[u] - self.begin)
            self.at.append(self._column(min(low, now), max(high, now), now))
        self._tasks_wait_for_inputs()
        self._pairs_take_turns()
        for d in range(self.graph.classes.problem.n_devices):
            if self._may_reorder(d):
                self._memory_suffices(d)
        self._ways_end()
        outcome = self.model.solve(control, threads=1, nodes=nodes, gap=GAP, start=self.values)
        swapped = []
        if outcome.values is not None:
            swapped = [pair for pair, column in self.order.items() if outcome.values[column] < 0.5]
        pairs = len(self.order)
        effort = self.n + pairs + outcome.iterations
        return SolvedWindow(self._segments(swapped), outcome.optimal, pairs, effort, outcome.nodes)

    def _segments(self, swapped: Sequence[tuple[int, int]]) -> dict[int, list[int]]:
        """The window's tasks on each resource in their new order, by how many come before each."""
        turned = set(swapped)
        found = {}
        for r, row in self.rows.items():
            earlier = {v: j for j, v in enumerate(row)}
            here = set(row)
            for u, v in turned:
                if u in here and v in here:
                    earlier[u] += 1
                    earlier[v] -= 1
            if any(earlier[v] != j for j, v in enumerate(row)):
                found[r] = [self.first + v for v in sorted(row, key=lambda v: (earlier[v], v))]
        return found

    def _units(self, ticks: float) -> float:
        return ticks / self.unit

    def _column(self, low: float, high: float, now: float, cost: float = 0.0) -> int:
        self.values.append(now)
        return self.model.variable(low, high, cost)

    def _tasks_wait_for_inputs(self) -> None:
        for v in range(self.n):
            for u in dict.fromkeys(self.before[v]):
                self._follows(v, u)

    def _follows(self, v: int, u: int) -> None:
        self.model.row([self.at[v], self.at[u]], [1.0, -1.0], self._units(self.length[u]))

    def _latest_end(self, u: int) -> float:
        return max(self.graph.makespan - self.tail[u], self.end[u])

    def _pairs_take_turns(self) -> None:
        """A binary for each pair that may change places, 1 where the order stays; none where v cannot come first."""
        self.order: dict[tuple[int, int], int] = {}
        for u, v in self.free:
            apart = self._latest_end(u) - self.head[v]  # by how much v may start before u has ended
            turned = self._latest_end(v) - self.head[u]
            if self.head[v] + self.length[v] > self._latest_end(u) - self.length[u]:  # v cannot come first
                self._follows(v, u)
                continue
            column = self.model.binary()
            self.values.append(1.0)
            self.order[u, v] = column
            slack, other = self._units(max(0.0, apart)), self._units(max(0.0, turned))
            gap = self._units(self.length[u])
            self.model.row([self.at[v], self.at[u], column], [1.0, -1.0, -slack], gap - slack)
            self.model.row([self.at[u], self.at[v], column], [1.0, -1.0, other], self._units(self.length[v]))

    def _memory_suffices(self, d: int) -> None:
        """What is taken and not released before a task leaves enough memory for what it takes itself."""
        graph = self.graph
        inside = [(x - self.first, size) for x, size in graph.taken[d] if self._inside(x)]
        if not inside:
            return
        takers = [(x, size) for x, size in graph.taken[d] if not self._inside(x)]
        givers = [(instant, size) for instant, tasks, size in graph.given[d] if not any(map(self._inside, tasks))]
        here = [given for given in graph.given[d] if any(map(self._inside, given[1]))]
        taken = [0.0, *accumulate(size for _, size in takers)]
        given = [0.0, *accumulate(size for _, size in givers)]
        numbers, instants = [x for x, _ in takers], [instant for instant, _ in givers]
        for v, size in inside:
            used = size + taken[bisect_left(numbers, self.first + v)] - given[bisect_right(instants, self.start[v])]
            terms: dict[int, float] = {}
            for u, other in inside:
                if u != v:
                    used += self._counted(u, v, u < v, other, terms)
            for instant, tasks, other in here:
                if len(tasks) == 1:
                    used += self._counted(tasks[0] - self.first, v, instant <= self.start[v], -other, terms)
                elif instant <= self.start[v]:
                    used -= other
            terms = {column: size for column, size in terms.items() if size}  # without those that cancel out
            if terms:
                largest = max(map(abs, terms.values()))
                room = (float(graph.classes.available[d]) - used) / largest
                self.model.row(list(terms), [c / largest for c in terms.values()], upper=room + TOLERANCE)

    def _counted(self, u: int, v: int, now: bool, size: float, terms: dict[int, float]) -> float:
        """``size`` where u comes before v: added to ``terms`` as far as the order is free; the constant part."""
        if (u, v) in self.order:
            column = self.order[u, v]
            terms[column] = terms.get(column, 0.0) + size
            return 0.0
        if (v, u) in self.order:
            column = self.order[v, u]
            terms[column] = terms.get(column, 0.0) - size
            return size
        return size if now else 0.0

    def _ways_end(self) -> None:
        """The makespan of all paths through the window, and by how much each comes close to the current one."""
        graph = self.graph
        near = self._units(graph.makespan * (1 - NEAR) - self.begin)
        for u in range(self.n):
            rest = self._units(self.length[u] + self.leave[u])
            self.model.row([self.makespan, self.at[u]], [1.0, -1.0], rest)
            if self.end[u] + self.leave[u] > graph.makespan * (1 - 2 * NEAR):
                now = self.values[self.at[u]] + rest - near
                excess = self._column(0.0, float("inf"), max(0.0, now), 1.0)
                self.model.row([excess, self.at[u]], [1.0, -1.0], rest - near)

"""Large neighbourhood search: a MIP re-optimises windows of the best schedule, and a bandit chooses their kinds.

Which windows pay differs from problem to problem and changes as a schedule gets better: all devices for a short time,
a few devices for longer, some microbatches against all others. So the kinds compete, as the neighbourhoods of Balans
do (Cai, Kadioglu and Dilkina, "Balans: Multi-Armed Bandits-based Adaptive Large Neighborhood Search for
Mixed-Integer Programming Problem", 2024). Each kind has an unknown rate of improvements per effort of the solver. The
rate is drawn from a gamma distribution (improvements as a Poisson process), and the kind with the highest draw is next
(Thompson sampling). Effort is counted in tasks, pairs and simplex iterations, never in seconds: the same seed gives the
same windows. The windows of a kind grow while the solver exhausts them with little effort, and shrink if it does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from planner.common.budget import Control
from planner.common.threads import side_by_side
from planner.scheduling.list.kernel import Run
from planner.scheduling.list_search import ListSearch
from planner.scheduling.orders.anneal import Orders
from planner.scheduling.orders.lns_model import SolvedWindow, Window, solve_window
from planner.scheduling.orders.precedence import PrecedenceGraph
from planner.search.params import LnsParams
from planner.search.state import SearchState

Choice = Callable[[PrecedenceGraph, np.random.Generator, int], Window]
"""Chooses a window of about so many tasks."""


@dataclass(frozen=True)
class LnsWindows:
    """A session of windows of the best schedule, each solved by a MIP."""

    name: str = "LNS windows"

    def supports(self, state: SearchState) -> bool:
        """Whether anything has been scheduled."""
        return bool(state.searches)

    def run(self, state: SearchState) -> None:
        """One session of windows; what it learns about their kinds is kept for the next."""
        for search in state.ranked[:1]:
            if state.incumbent.met or state.is_close(search):
                return
            learnt: Learnt = state.learnt.setdefault(self.name, Learnt(kinds(state.params.lns)))
            before = str(learnt)
            solve_windows(state, search, learnt)
            state.notes[:] = [*(line for line in state.notes if line != before), str(learnt)]


@dataclass
class Kind:
    """A kind of window: the size of its windows, and their improvements and effort so far."""

    name: str
    choose: Choice
    params: LnsParams
    paid: int = 0
    size: float = field(init=False)
    gains: float = field(init=False)
    effort: float = field(init=False)

    def __post_init__(self) -> None:
        """Begin with the prior."""
        self.size, self.gains, self.effort = float(self.params.size), self.params.prior, float(self.params.effort)

    def drawn(self, rng: np.random.Generator) -> float:
        """A rate of improvements per effort, drawn from its distribution."""
        return float(rng.gamma(self.gains) / self.effort)

    def learn(self, improved: bool, effort: float, exhausted: bool, pairs: int) -> None:
        """Note the result of a window, and adapt the size of the next."""
        params = self.params
        self.paid += improved
        self.gains = params.prior + params.forgets * (self.gains - params.prior) + improved
        self.effort = params.effort + params.forgets * (self.effort - params.effort) + effort
        small = exhausted and effort < params.effort and pairs < params.pairs
        self.size = self.size * params.grows if small else max(params.smallest, self.size * params.shrinks)


def kinds(params: LnsParams) -> list[Kind]:
    """All kinds of windows."""
    near, far = params.reach, params.far

    def slab(reach: int) -> Choice:
        return lambda w, rng, size: _slab(w, rng, size, reach)

    def devices(count: Callable[[int], int]) -> Choice:
        return lambda w, rng, size: _devices(w, rng, size, near, count(w.classes.problem.n_devices))

    def microbatches(count: int) -> Choice:
        return lambda w, rng, size: _microbatches(w, rng, size, far, count)

    chosen: dict[str, Choice] = {
        "all devices": slab(near),
        "all devices, short reach": slab(near // 4),
        "all devices, long reach": slab(far),
        "around a critical task": lambda w, rng, size: _critical(w, rng, size, near),
        "one device": devices(lambda n: 1),
        "two devices": devices(lambda n: 2),
        "half of the devices": devices(lambda n: (n + 1) // 2),
        "one microbatch": microbatches(1),
        "three microbatches": microbatches(3),
    }
    return [Kind(name, choose, params) for name, choose in chosen.items()]


@dataclass
class Learnt:
    """What all sessions of a search have learnt and gained."""

    kinds: list[Kind]
    sessions: int = 0
    tried: int = 0
    gained: float = 0.0  # seconds

    def __str__(self) -> str:
        """A line for the report."""
        most = sorted((kind for kind in self.kinds if kind.paid), key=lambda kind: -kind.paid)
        what = ", ".join(f"{kind.name} ({kind.paid})" for kind in most) or "none"
        return (
            f"{self.tried} LNS windows solved by a MIP shorten makespans by {self.gained:.6g} s in total; improvements "
            f"by kind: {what}"
        )


def solve_windows(state: SearchState, search: ListSearch, learnt: Learnt) -> None:
    """A session of windows of a search's best schedule; each shorter schedule is offered."""
    incumbent, params = state.incumbent, state.params.lns
    assert search.best is not None
    learnt.sessions += 1
    run = search.orders.play(Orders.of(search.ordered, search.best.start, search.best.turn))
    if run.makespan < 0:
        return  # played in a fixed order, a list schedule may deadlock on memory
    before = search.seconds
    rng = np.random.default_rng((state.seed, learnt.sessions))
    windows = _Windows(search, PrecedenceGraph.of(search.ordered, run), learnt, rng, params)
    how = f"LNS windows on placement {search.classes.placement.origin}"
    goal = max(incumbent.goal, incumbent.bound_of(search.full.placement)) / search.classes.tick
    while windows.effort < params.session and not incumbent.met and windows.graph.makespan > goal:
        incumbent.control.report(f"{how}, {learnt.tried} so far")
        if windows.round(incumbent.control, state.free_threads):
            incumbent.offer_search(search, how)
    learnt.gained += before - search.seconds


class _Windows:
    """Rounds of windows of one schedule."""

    def __init__(
        self, search: ListSearch, graph: PrecedenceGraph, learnt: Learnt, rng: np.random.Generator, params: LnsParams
    ) -> None:
        self.search, self.graph, self.learnt, self.rng, self.params = search, graph, learnt, rng, params
        self.effort = 0

    def round(self, control: Control, threads: int) -> bool:
        """Solve a few windows of the current schedule side by side; whether it gets shorter."""
        drawn = self._draw()
        graph, nodes = self.graph, self.params.nodes
        graph.prepare()
        found = side_by_side(lambda each: solve_window(graph, each[1], control, nodes), drawn, threads)
        runs: list[Run] = []
        for (kind, _), each in zip(drawn, found, strict=True):
            run = self._played([each]) if each.segments else graph.run
            improved = run.makespan < graph.makespan
            kind.learn(improved, each.effort, each.exhausted, each.pairs)
            runs.append(run)
        changed = [each for each in found if each.segments]
        if len(changed) > 1:
            runs.append(self._played(changed))
        self.learnt.tried += len(drawn)
        self.effort += sum(each.effort for each in found)
        control.spend(len(runs) + sum(each.nodes for each in found))
        best = min(reversed(runs), key=lambda run: run.makespan)  # of equals that of all windows together
        shorter = best.makespan < graph.makespan
        if best is not graph.run:
            self.graph = PrecedenceGraph.of(self.search.ordered, best)
            self.search.keep(best)
        return shorter

    def _draw(self) -> list[tuple[Kind, Window]]:
        """The windows of a round, which do not overlap, each of a kind that is drawn for it."""
        drawn: list[tuple[Kind, Window]] = []
        for _ in range(self.params.at_once):
            kind = max(self.learnt.kinds, key=lambda kind: kind.drawn(self.rng))
            window = kind.choose(self.graph, self.rng, round(kind.size))
            if all(window.past <= other.first or other.past <= window.first for _, other in drawn):
                drawn.append((kind, window))
        return drawn

    def _played(self, found: Sequence[SolvedWindow]) -> Run:
        """The schedule of new orders; its makespan is inf where they deadlock."""
        run = self.search.orders.play(self.graph.reordered([each.segments for each in found]))
        return run if run.makespan >= 0 else run._replace(makespan=math.inf)


def _slab(
    graph: PrecedenceGraph,
    rng: np.random.Generator,
    size: int,
    reach: int,
    at: int | None = None,
    resources: frozenset[int] | None = None,
    microbatches: frozenset[int] | None = None,
) -> Window:
    """``size`` tasks in a row (by start), at random or around task ``at``."""
    size = min(size, graph.n)
    last = graph.n - size
    first = int(rng.integers(last + 1)) if at is None else min(max(0, at - size // 2), last)
    return Window(first, first + size, reach, resources, microbatches)


def _critical(graph: PrecedenceGraph, rng: np.random.Generator, size: int, reach: int) -> Window:
    tasks = graph.critical
    return _slab(graph, rng, size, reach, at=int(tasks[int(rng.integers(len(tasks)))]))


def _devices(graph: PrecedenceGraph, rng: np.random.Generator, size: int, reach: int, count: int) -> Window:
    """Orders on ``count`` neighbouring devices of the cluster, and on the channels between them."""
    classes = graph.classes
    n = classes.problem.n_devices
    first = int(rng.integers(n))
    devices = {(first + d) % n for d in range(count)}
    resources = {2 * d + stream for d in devices for stream in (0, 1)}
    for a in np.flatnonzero(classes.target >= 0).tolist():
        if int(classes.device[a]) in devices and int(classes.target[a]) in devices:
            resources.update(r for r in classes.resources[a] if r >= 2 * n)
    return _slab(graph, rng, size, reach, resources=frozenset(resources))


def _microbatches(graph: PrecedenceGraph, rng: np.random.Generator, size: int, reach: int, count: int) -> Window:
    """A few microbatches against all others."""
    first = int(rng.integers(graph.run.start.shape[1]))
    return _slab(graph, rng, size, reach, microbatches=frozenset(range(first, first + count)))

"""What makes the best schedule of one placement shorter: rules varied, orders annealed, windows ordered anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.search.incumbent import Incumbent

if TYPE_CHECKING:  # it loads numba, and the first plan does not need it
    from planner.scheduling.placement_search import ListSearch
    from planner.search.neighbourhoods import Learnt

EVALUATIONS = 3_000
"""List schedules where rules are varied."""

MANY, LONG = 2_500, 60_000
"""Tasks from which on rules shape the whole, and up to which those of the best placement are varied for longer then:
the fewer tasks, the more schedules, so that it takes as long."""

SUGGESTING = 0.4
"""Share of these where steps are shaped stage by stage afterwards."""

ANNEALINGS, STILL = 12, 3
"""Rounds of annealing on the best, and how many in a row may gain nothing."""

CLOSE, SAME = 0.02, 1e-9
"""A placement's schedule this close to its bound (relatively) is not searched anew, or not searched any further."""


@dataclass
class Polish:
    """Each method offers what it finds; none goes on where the placement's bound is met."""

    incumbent: Incumbent
    seed: int
    threads: int
    notes: list[str]
    restarts: int = 0
    learnt: Learnt | None = None  # of windows

    def is_close(self, search: ListSearch, within: float = CLOSE) -> bool:
        """Whether a placement leaves so little that rather another one has to be found."""
        return self.incumbent.bound_of(search.full.placement) > search.seconds * (1 - within)

    @staticmethod
    def length(search: ListSearch) -> float:
        """How long rules are varied where they shape the whole, x the usual; 1 where stages do it, or annealing."""
        tasks = search.classes.n_tasks
        return 1.0 if search.staged or tasks <= MANY else max(1.0, LONG / tasks)

    def vary(self, search: ListSearch, share: float, afresh: bool = False) -> None:
        """Vary rules, for a share of the usual evaluations; ``afresh``: others than have been varied before."""
        incumbent = self.incumbent
        if incumbent.met or self.is_close(search, SAME):
            return
        how = f"list scheduling on placement {search.classes.placement.origin}, rules varied"
        incumbent.control.report(how)
        search.improve(int(EVALUATIONS * share), incumbent.control, self._goal(search), self.threads, afresh)
        incumbent.offer_search(search, how)

    def shape(self, search: ListSearch) -> None:
        """Vary rules at length; or shape a step of several packets stage by stage, for which rules suggest sizes."""
        length = self.length(search)
        self.vary(search, SUGGESTING if search.staged else length, afresh=length > 1)
        incumbent = self.incumbent
        if incumbent.met or self.is_close(search, SAME) or not search.packets:
            return
        how = f"list scheduling on placement {search.classes.placement.origin}, stage by stage"
        incumbent.control.report(how)
        search.stage(incumbent.control, self._goal(search), self.threads)
        incumbent.offer_search(search, how)

    def anneal(self, search: ListSearch, rounds: int) -> None:
        """Annealing of orders, each improvement offered at once, while it gains anything."""
        incumbent = self.incumbent
        how = f"annealing on placement {search.classes.placement.origin}"
        still = 0
        for _ in range(rounds):
            if incumbent.met or still == STILL or self.is_close(search, SAME):
                return
            incumbent.control.report(how)
            before = search.makespan
            search.anneal(1, incumbent.control, self._goal(search), self.threads)
            still = 0 if search.makespan < before else still + 1
            incumbent.offer_search(search, how)

    def reorder(self, search: ListSearch) -> None:
        """Windows of the best schedule ordered anew by the MIP."""
        from planner.search.neighbourhoods import Learnt, reorder_windows

        if self.incumbent.met or self.is_close(search, SAME):
            return
        if self.learnt is None:
            self.learnt = Learnt()
        before = str(self.learnt)
        reorder_windows(self.incumbent, search, self.learnt, self.seed, self.threads)
        self.notes[:] = [*(line for line in self.notes if line != before), str(self.learnt)]

    def restart(self, search: ListSearch) -> ListSearch | None:
        """Rules varied anew on the same placement, then annealed: orders keep the shape that they begin with."""
        if self.is_close(search):
            return None
        from planner.scheduling.placement_search import ListSearch

        self.restarts += 1
        seed = self.seed + self.restarts
        again = ListSearch.of(self.incumbent.problem, search.full.placement, seed)
        again = again if search.folded is None else again.fold(seed) or again
        self.shape(again)
        self.anneal(again, ANNEALINGS // 2)
        return again

    def _goal(self, search: ListSearch) -> float:
        """Seconds at which a search may stop: nothing on its placement is shorter."""
        return max(self.incumbent.goal, self.incumbent.bound_of(search.full.placement))

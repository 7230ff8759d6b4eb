"""The state of a search: the incumbent, the searches on placements, and what steps have learnt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from planner.baselines.replayed import BaselineTimetables
from planner.common.ahead import Ahead, Later
from planner.common.tolerance import SAME
from planner.placement.kinds import Versions
from planner.placement.versions import different_choices
from planner.problem import Placement, PlacementKey, Problem
from planner.search.incumbent import Candidate, Incumbent
from planner.search.params import SearchParams

if TYPE_CHECKING:  # they load numba and HiGHS, and the first plan needs neither
    from planner.scheduling.list_search import ListSearch
    from planner.timetable.timetable import Timetable


@dataclass
class SearchState:
    """The state of one search; every step reads and writes it.

    ``baselines``: the timetables of the baselines, by layout. ``replay`` makes those of another problem.
    """

    incumbent: Incumbent
    baselines: BaselineTimetables
    replay: Callable[[Problem], BaselineTimetables]
    seed: int
    threads: int
    params: SearchParams = field(default_factory=SearchParams)
    starts: Sequence[Timetable] = ()  # to begin with, besides the baselines
    notes: list[str] = field(default_factory=list)
    searches: list[ListSearch] = field(default_factory=list)
    prepared: dict[PlacementKey, ListSearch] = field(default_factory=dict)  # on placements not tried yet
    seen: set[PlacementKey] = field(default_factory=set)  # placements tried, pruned or too large
    roots: dict[PlacementKey, PlacementKey] = field(default_factory=dict)  # of placements changed: where changes began
    pruned: int = 0  # placements whose bound is above the best makespan
    rounds: Counter[str] = field(default_factory=Counter)  # how often a step has run: for seeds and notes
    learnt: dict[str, Any] = field(default_factory=dict)  # what steps keep from run to run, by their names
    ahead: Ahead | None = None  # what works ahead
    later: dict[str, list[Later[Any]]] = field(default_factory=dict)  # and for which steps, by their names
    kept: Candidate | None = None  # the last one of which a plan was made while placements are tried
    keep_after: float = 0.0  # seconds from the start before which no further plan is made

    @property
    def problem(self) -> Problem:
        """The problem to be solved."""
        return self.incumbent.problem

    @property
    def free_threads(self) -> int:
        """Threads for work side by side: all but one that works ahead."""
        return self.threads if self.ahead is None else self.ahead.free

    @property
    def tasks_each(self) -> int:
        """Tasks of a microbatch."""
        return int(self.problem.has_pass.sum())

    @property
    def tasks(self) -> int:
        """Tasks of the step."""
        return self.problem.microbatches * self.tasks_each

    @property
    def has_many_tasks(self) -> bool:
        """Whether there are so many tasks that rules shape the schedule and annealing is intensification only."""
        return self.tasks > self.params.schedule.many_tasks

    @property
    def ranked(self) -> list[ListSearch]:
        """Searches that have found something, best first."""
        found = [s for s in self.searches if s.best is not None]
        return sorted(found, key=lambda s: (s.seconds, s.classes.n_tasks))

    @property
    def ranked_by_devices(self) -> list[ListSearch]:
        """The best search of each choice of devices, whatever its versions, best first."""
        best: dict[object, ListSearch] = {}
        for search in self.ranked:
            best.setdefault(search.full.placement.device_of, search)
        return list(best.values())

    @property
    def uniform(self) -> dict[str, list[ListSearch]]:
        """By uniform choice: the searches with all operators in its versions, best first; without alternatives none."""
        problem, ranked = self.problem, self.ranked
        if not problem.free:
            return {}

        def chosen(search: ListSearch) -> set[Versions]:
            placement = search.full.placement
            return {problem.versions_of(placement, copy) for copy in range(placement.copies)}

        versions = [(search, chosen(search)) for search in ranked]
        choices = different_choices(problem)
        return {name: [search for search, some in versions if some == {wanted}] for name, wanted in choices.items()}

    def is_hopeless(self, search: ListSearch, most: float) -> bool:
        """Whether its best schedule is longer than ``most`` x the best makespan, so that it is left as it is."""
        best = self.incumbent.best
        return best is not None and search.seconds > best.makespan * most

    def add(self, search: ListSearch, begun: ListSearch | None = None) -> None:
        """Add the search of a placement, which changes have led to from that of another one."""
        key = search.full.placement.key
        self.searches.append(search)
        self.seen.add(key)
        if begun is not None:
            self.roots[key] = self.root(begun)

    def rivals(self, within: float, count: int = 2) -> list[ListSearch]:
        """The best search, and the best ones from so many roots in all, if they take at most ``within`` x as long."""
        ranked = self.ranked
        best: dict[PlacementKey, ListSearch] = {}
        for search in ranked:
            if len(best) == count or (best and search.seconds > ranked[0].seconds * within):
                break
            best.setdefault(self.root(search), search)
        return list(best.values())

    def root(self, search: ListSearch) -> PlacementKey:
        """The placement from which changes have led to that of a search."""
        key = search.full.placement.key
        return self.roots.get(key, key)

    def is_close(self, search: ListSearch, within: float = SAME) -> bool:
        """Whether a search's best makespan is within so much (relatively) of the bound of its placement."""
        return self.incumbent.bound_of(search.full.placement) > search.seconds * (1 - within)

    def goal(self, search: ListSearch) -> float:
        """The makespan (seconds) at which a search may stop: no schedule on its placement is shorter, or has to be."""
        return max(self.incumbent.goal, self.incumbent.bound_of(search.full.placement))

    def by_bound(self, placements: Iterable[Placement]) -> Iterator[Placement]:
        """Placements in the order of their bounds, the lowest first.

        The bound takes some milliseconds. It counts when devices start, wait for gradients and end.
        """
        if self.incumbent.best is None:  # any placement that fits comes first
            yield from placements
            return
        bounds: list[tuple[float, Placement]] = []
        for placement in placements:
            if self.incumbent.control.over:
                break
            self.incumbent.control.report(f"bound of placement {placement.origin}")
            bounds.append((self.incumbent.bound_of(placement), placement))
        before = self.pruned
        for _, placement in sorted(bounds, key=lambda entry: entry[0]):
            yield placement
        if self.pruned > before:
            self.notes.append(f"level 1 ranked {len(bounds)} placements; {self.pruned - before} pruned by bound")

    def try_all(self, placements: Iterable[Placement]) -> None:
        """Schedule each placement by the known rules, while there is a gap and time."""
        for placement in placements:
            if not self.incumbent.wants_more:
                return
            self._keep_ready()
            self.try_placement(placement)

    def try_placement(self, placement: Placement) -> None:
        """Schedule a placement by the known rules, unless its bound is above the best makespan."""
        if placement.key in self.seen:
            return
        from planner.scheduling.list_search import DoesNotFit, ListSearch

        self.seen.add(placement.key)
        best = self.incumbent.best
        if best is not None and self.incumbent.bound_of(placement) > best.makespan * (1 + SAME):
            self.pruned += 1
            return
        self.incumbent.control.report(f"placement {placement.origin}")
        known = (s for s in self.searches if s.full.placement.key == placement.key and s.mirrored is None)
        search = self.prepared.pop(placement.key, None) or next(known, None)
        try:
            search = search or ListSearch.of(self.problem, placement, self.seed, self.params.schedule)
        except DoesNotFit:
            return
        promising = self.params.placements.promising
        for each in (search, search.mirror(self.seed)):
            best = self.incumbent.best
            if each is None or not self.incumbent.wants_more:
                continue
            limit = np.inf if best is None else best.makespan * promising
            each.try_known_rules(self.incumbent.control, limit, self.free_threads)
            for timetables in self.baselines.values():
                for _, timetable in timetables:
                    each.follow(timetable)
            each.justify(self.incumbent.control)
            if not any(each is other for other in self.searches):
                self.searches.append(each)
            self.incumbent.offer_search(each, f"list scheduling on placement {placement.origin}")
        self.incumbent.offer_more(search)

    def _keep_ready(self) -> None:
        """Make a plan of the best now and then, since there may be too little time at the end.

        The pause after each is a multiple of the time that it took, so that plans take a small share of all time.
        """
        control, best, params = self.incumbent.control, self.incumbent.best, self.params.ready
        if (
            best is None
            or best is self.kept
            or control.elapsed < max(self.keep_after, params.after * control.time_limit)
        ):
            return
        begun = control.elapsed
        self.incumbent.publish_best()
        self.kept, self.keep_after = best, begun + params.longer * (control.elapsed - begun)

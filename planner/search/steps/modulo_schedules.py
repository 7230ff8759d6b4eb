"""Modulo schedules, where memory decides how fast microbatches follow each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.placement.layouts import on_all_devices
from planner.placement.versions import uniform_placements
from planner.scheduling.list_search import DoesNotFit, ListSearch
from planner.scheduling.modulo import ModuloSchedule, first_period, is_bound_by_memory, modulo_schedule
from planner.search.incumbent import Candidate
from planner.search.state import SearchState

MODULO = "modulo schedules"
"""Key of ``SearchState.rounds``: on how many placements they have been found."""


@dataclass(frozen=True)
class ModuloSchedules:
    """Modulo schedules on the placements of the families, the best of them played as schedules of the whole step."""

    name: str = MODULO

    def supports(self, state: SearchState) -> bool:
        """Whether memory is capped, and a step has more microbatches than it has devices."""
        problem = state.problem
        return bool(np.isfinite(problem.cap).any()) and problem.microbatches > problem.n_devices

    def run(self, state: SearchState) -> None:
        """Lay out one microbatch on each placement that memory binds; play the shortest."""
        incumbent, params = state.incumbent, state.params.modulo
        found: list[tuple[float, ListSearch, ModuloSchedule]] = []
        for placement in uniform_placements(state.problem, on_all_devices(state.problem)):
            if incumbent.control.over:
                break
            incumbent.control.report(f"modulo schedules, placement {placement.origin}")
            try:
                search = ListSearch.of(state.problem, placement, state.seed, state.params.schedule)
            except DoesNotFit:
                continue
            state.prepared[placement.key] = search
            if not is_bound_by_memory(search.ordered) or not _may_be_better(search, incumbent.best):
                continue
            schedule = modulo_schedule(search.ordered, params.periods)
            incumbent.control.spend(1)
            if schedule is not None:
                found.append((schedule.makespan(search.ordered), search, schedule))
        found.sort(key=lambda each: each[0])
        state.rounds[MODULO] += len(found)
        for _, search, schedule in found[: params.played]:
            if incumbent.met or incumbent.control.over:
                return
            for each in search.learn_starts(schedule.starts(search.ordered)):
                search.keep(each)
            state.searches.append(search)  # not seen: known rules are tried on it, too
            incumbent.offer_search(search, f"a modulo schedule on placement {search.full.placement.origin}")


def _may_be_better(search: ListSearch, best: Candidate | None) -> bool:
    """Whether the shortest modulo schedule that is tried, the longest chain and all periods, may be the best."""
    classes = search.ordered
    several = ~classes.once
    chain = float((classes.head + classes.seconds)[several].max(initial=0.0))
    shortest = chain + (max(classes.counts) - 1) * first_period(classes)
    return best is None or shortest < best.makespan

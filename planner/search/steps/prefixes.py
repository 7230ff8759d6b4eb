"""Re-optimises the best schedule from random times on, with its own starts as keys of the list scheduler."""

from __future__ import annotations

from dataclasses import dataclass

from planner.search.state import SearchState


@dataclass(frozen=True)
class Prefixes:
    """A session on the best schedule; with few tasks annealing has closed its gaps already."""

    name: str = "re-optimise from prefixes"

    def supports(self, state: SearchState) -> bool:
        """Whether anything has been scheduled, and that with many tasks."""
        return bool(state.searches) and state.has_many_tasks

    def run(self, state: SearchState) -> None:
        """So many list schedules; fewer, the more tasks there are."""
        incumbent, params = state.incumbent, state.params.prefix
        for search in state.ranked[:1]:
            if incumbent.met or state.is_close(search):
                return
            how = f"list scheduling on placement {search.classes.placement.origin}, re-optimised from prefixes"
            incumbent.control.report(how)
            evaluations = min(params.evaluations, params.tasks // search.classes.n_tasks)
            search.from_prefixes(evaluations, incumbent.control, state.goal(search), state.free_threads)
            incumbent.offer_search(search, how)

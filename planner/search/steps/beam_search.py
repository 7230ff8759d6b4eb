"""Beam search on the best placement, for steps of several microbatch groups (``planner.scheduling.list.beam``)."""

from __future__ import annotations

from dataclasses import dataclass

from planner.search.state import SearchState
from planner.search.steps.vary_rules import vary


@dataclass(frozen=True)
class BeamSearch:
    """Search the beginning of the best schedule first. Varied rules suggest sizes of microbatch groups."""

    name: str = "beam search"

    def supports(self, state: SearchState) -> bool:
        """Whether anything has been scheduled, and that in several microbatch groups."""
        return any(search.needs_beam for search in state.ranked[:1])

    def run(self, state: SearchState) -> None:
        """A search on the best placement; another one goes on from what was found up to each horizon."""
        incumbent = state.incumbent
        for search in state.ranked[:1]:
            if not search.needs_beam:
                return
            if not search.group_sizes:
                vary(state, search, state.params.vary.suggesting)
            if incumbent.met or state.is_close(search) or not search.group_sizes:
                return
            how = f"beam search over horizons on placement {search.classes.placement.origin}"
            incumbent.control.report(how)
            search.beam_search(incumbent.control, state.goal(search), state.free_threads)
            incumbent.offer_search(search, how)

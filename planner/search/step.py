"""What a step of the search is."""

from __future__ import annotations

from typing import Protocol

from planner.search.state import SearchState


class Step(Protocol):
    """One way to make the best schedule shorter or the bound higher.

    A step keeps nothing of its own between runs: what it learns stands in the state, so that a programme can name a
    step twice, and two searches can share one.
    """

    @property
    def name(self) -> str:
        """What it does, in a few words."""

    def supports(self, state: SearchState) -> bool:
        """Whether it can do anything for this problem as the search stands."""

    def run(self, state: SearchState) -> None:
        """Offer what it finds to ``state.incumbent``; end as soon as that is met."""

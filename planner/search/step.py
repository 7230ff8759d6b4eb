"""The interface of a step of the search."""

from __future__ import annotations

from typing import Protocol

from planner.search.state import SearchState


class Step(Protocol):
    """One way to make the best schedule shorter or the bound higher.

    A step has no state of its own between runs. What it learns is in ``SearchState``, so a programme can name a step
    twice, and two searches can share one. Steps are hashable: frozen dataclasses, as a rule.
    """

    @property
    def name(self) -> str:
        """What it does, in a few words."""

    def supports(self, state: SearchState) -> bool:
        """Whether it applies to this problem in this state of the search."""

    def run(self, state: SearchState) -> None:
        """Offer what it finds to ``state.incumbent``; end as soon as that is met."""

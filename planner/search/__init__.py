"""The search over both levels, from proposals of placements to the best schedule and its bound."""

from planner.search.incumbent import Candidate, Incumbent
from planner.search.portfolio import Portfolio

__all__ = ["Candidate", "Incumbent", "Portfolio"]

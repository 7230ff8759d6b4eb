"""The search over both levels, from proposals of placements to the best schedule and its bound."""

from planner.search.incumbent import Candidate, Incumbent, Published
from planner.search.least_memory import LeastMemory, least_memory
from planner.search.portfolio import Portfolio

__all__ = ["Candidate", "Incumbent", "LeastMemory", "Portfolio", "Published", "least_memory"]

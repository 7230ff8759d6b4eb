"""The search over both levels, from proposals of placements to the best schedule and its bound.

``programme`` says which steps there are and in which order; ``searching`` runs them.
"""

from planner.search.incumbent import Candidate, Incumbent
from planner.search.params import SearchParams
from planner.search.searching import search, search_on
from planner.search.state import SearchState

__all__ = ["Candidate", "Incumbent", "SearchParams", "SearchState", "search", "search_on"]

"""Lower bounds on the makespan, each with what it assumes."""

from planner.bounds.placement import placement_bound
from planner.bounds.registry import BOUNDS, Bound, problem_bound

__all__ = ["BOUNDS", "Bound", "placement_bound", "problem_bound"]

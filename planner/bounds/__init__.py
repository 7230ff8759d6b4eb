"""Lower bounds on the makespan, each with what it assumes."""

from planner.bounds.packing import indivisible_bound
from planner.bounds.placement import placement_bound
from planner.bounds.problem import problem_bound
from planner.bounds.turns import turn_bound

__all__ = ["indivisible_bound", "placement_bound", "problem_bound", "turn_bound"]

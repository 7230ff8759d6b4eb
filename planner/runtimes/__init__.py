"""What frameworks can run of a plan, and how they run it: one module a runtime, listed in ``registry``."""

from planner.runtimes.registry import ANY, RUNTIMES
from planner.runtimes.runtime import Cut, Recomputing, Runtime, Transfers

__all__ = ["ANY", "RUNTIMES", "Cut", "Recomputing", "Runtime", "Transfers"]

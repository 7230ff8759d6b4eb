"""What makes the step of a finished plan as long as it is, and what would help, measured."""

from planner.explain.explanation import Explanation, explain

__all__ = ["Explanation", "explain"]

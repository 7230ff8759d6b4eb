"""Checks a plan against every rule, from its names and the two files alone.

It shares no code with what makes plans: of this project it imports the plain data of graph, cluster and plan,
and computes durations, transfers, memory and figures anew. Each module checks a family of rules.
"""

from planner.verification.check import verify_plan
from planner.verification.facts import Violation
from planner.verification.rules import Rule

__all__ = ["Rule", "Violation", "verify_plan"]

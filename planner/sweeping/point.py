"""One point of a sweep, and the work that solves it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from planner.common.budget import Control
from planner.engine import Limits, Refused, stop_event
from planner.objectives.options import NoPlan, SolveOptions
from planner.plan.plan import Plan, plan_to_json
from planner.problem import Impossible, Problem

INFEASIBLE, NO_PLAN = 3, 4
"""The exit codes of ``planner solve``: proven that there is no plan, and none found within the limits."""

ANOTHER = "the plan of another point"
"""The name of a start among the schedules that a search begins with."""


@dataclass(frozen=True)
class Point:
    """A solve: every flag as plan.json records it, the problem and the options of the search, and the thresholds.

    ``refused``: why it is proven at once that there is no plan; problem and options are missing then.
    """

    flags: Mapping[str, Any]
    problem: Problem | None
    options: SolveOptions | None
    refused: str = ""
    max_bubble: float | None = None
    beat: str | None = None

    @property
    def all_flags(self) -> dict[str, Any]:
        """The flags with the thresholds, where there are any."""
        thresholds = {"max_bubble": self.max_bubble, "beat": self.beat}
        return dict(self.flags) | {name: value for name, value in thresholds.items() if value is not None}


@dataclass(frozen=True)
class SolveWork:
    """Solves a problem. ``starts``: plans that are valid for it, as text, which the search begins with."""

    problem: Problem
    options: SolveOptions
    name: str
    starts: tuple[str, ...] = ()

    @property
    def key(self) -> Mapping[str, object]:
        """Inputs by the hashes of their files, every flag, and the plans to begin with by theirs."""
        return {
            "work": "solve",
            "graph": self.problem.graph.sha256,
            "cluster": self.problem.cluster.sha256,
            "flags": json.loads(json.dumps(dict(self.options.flags))),
            "starts": [hashlib.sha256(start.encode("utf-8")).hexdigest() for start in self.starts],
        }

    @property
    def label(self) -> str:
        """The flags in which the point differs from others."""
        return self.name

    def run(self, limits: Limits) -> dict[str, Any]:
        """The plan, as the text of a compact plan.json. Raises ``Refused`` where there is none."""
        from planner.files.plan_file import plan_of_text
        from planner.objectives.registry import OBJECTIVES
        from planner.objectives.solving import Solving
        from planner.plan.build import timetable_of

        flags, stop = self.options.flags, stop_event()
        limit = math.inf if flags["time_limit"] is None else float(flags["time_limit"])
        effort = math.inf if flags["effort"] is None else float(flags["effort"])
        control = Control(limit, stop_requested=stop, effort=effort)
        try:
            solving = Solving.of(self.problem, control, self.options)
            plans = [plan_of_text(start, "start") for start in self.starts]
            solving.begin_with(ANOTHER, [timetable_of(p, self.problem) for p in plans if p.repeated is None])
            plan = OBJECTIVES[self.options.objective].solve(solving)
        except Impossible as error:
            raise Refused(f"infeasible: {error}", INFEASIBLE) from None
        except NoPlan as error:
            raise Refused(f"no plan: {error}", NO_PLAN, keep=not stop.is_set()) from None
        if stop.is_set() and plan.status != "optimal":
            raise Refused("it was stopped before its end", keep=False)
        return {"plan": plan_to_json(plan, compact=True)}


@dataclass(frozen=True)
class PageWork:
    """Draws the report page of a plan."""

    problem: Problem
    plan: str
    name: str

    @property
    def key(self) -> Mapping[str, object]:
        """The plan by its hash."""
        return {"work": "page", "plan": hashlib.sha256(self.plan.encode("utf-8")).hexdigest(), "name": self.name}

    @property
    def label(self) -> str:
        """The name of the point."""
        return self.name

    def run(self, limits: Limits) -> dict[str, Any]:
        """The page, as text."""
        from planner.files.plan_file import plan_of_text
        from planner.report.html import Shown, report_html

        return {"html": report_html(Shown(plan_of_text(self.plan, self.name), self.name, self.problem))}


def start_text(plan: Plan) -> str:
    """A plan as a start: without what the clock says, so that the same plan is the same start."""
    return plan_to_json(replace(plan, solve_seconds=0.0), compact=True)

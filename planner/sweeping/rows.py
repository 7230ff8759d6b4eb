"""A row for each point: flags, figures, thresholds and files; as CSV and as JSON."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.common.version import __version__
from planner.plan.plan import BaselineFigures, Plan
from planner.report.facts import PlanFacts
from planner.report.thresholds import thresholds
from planner.report.words import seconds, size
from planner.sweeping.point import INFEASIBLE, NO_PLAN, Point
from planner.sweeping.share import Solved

SCHEMA = "planner/sweep@1"
STATUS = {INFEASIBLE: "infeasible", NO_PLAN: "no plan"}
"""Of points without a plan, by code; any other failed."""
ASKED = {"gap": "gap_asked"}
"""Columns of flags that have the name of a figure."""
LONGEST_NAME = 120
"""Characters of a file's name, without its ending."""


@dataclass(frozen=True)
class Row:
    """A point and what came of it. ``met``: whether its plan meets the thresholds, None where there are none.

    ``name`` of its files. ``reached``: False where the sweep was interrupted before.
    """

    point: Point
    name: str
    plan: Plan | None
    status: str
    reason: str
    seconds: float | None
    met: bool | None
    reached: bool = True

    @staticmethod
    def of(point: Point, name: str, solved: Solved | None) -> Row:
        """The row of a point; None: it was not reached."""
        asked = point.max_bubble is not None or point.beat is not None
        if solved is None:
            return Row(point, name, None, "interrupted", "the sweep was interrupted before", None, None, False)
        if solved.plan is None:
            status = STATUS.get(solved.code, "failed")
            return Row(point, name, None, status, solved.reason, solved.seconds, False if asked else None)
        found = thresholds(solved.plan, point.max_bubble, point.beat)
        missed = "; ".join(each.words for each in found if not each.met)
        met = not missed if asked else None
        return Row(point, name, solved.plan, solved.plan.status, missed, solved.seconds, met)

    @property
    def best_baseline(self) -> BaselineFigures | None:
        """The fastest of the baselines that fit."""
        fitting = () if self.plan is None else (b for b in self.plan.baselines if b.fits and b.makespan is not None)
        return min(fitting, key=lambda b: b.makespan or 0.0, default=None)

    def document(self) -> dict[str, Any]:
        """The row as JSON: seconds and bytes; null where there is no figure."""
        plan, best = self.plan, self.best_baseline
        figures: dict[str, Any] = dict.fromkeys(
            ("makespan", "lower_bound", "gap", "bubble_ratio", "peak_memory", "best_baseline", "best_baseline_makespan")
        )
        if plan is not None:
            figures |= {
                "makespan": plan.makespan,
                "lower_bound": plan.lower_bound,
                "gap": plan.gap,
                "bubble_ratio": plan.bubble_ratio,
                "peak_memory": PlanFacts(plan).peak_memory,
            }
            if plan.figures:
                figures |= {key: value for key, value, _ in plan.figure_fields()}
        if best is not None:
            figures |= {"best_baseline": best.name, "best_baseline_makespan": best.makespan}
        flags = {ASKED.get(name, name): value for name, value in self.point.all_flags.items()}
        return {
            **{name: list(value) if isinstance(value, tuple) else value for name, value in flags.items()},
            **figures,
            "status": self.status,
            "met": self.met,
            "seconds": self.seconds,
            "reason": self.reason,
            "plan": None if plan is None else f"plans/{self.name}.json",
        }


def document(rows: Sequence[Row], interrupted: bool) -> dict[str, Any]:
    """sweep.json: inputs, the flags that vary with their values, and the rows."""
    problem = next((row.point.problem for row in rows if row.point.problem is not None), None)
    source = {}
    if problem is not None:
        source = {
            "graph": {"name": problem.graph.name, "sha256": problem.graph.sha256},
            "cluster": {"name": problem.cluster.name, "sha256": problem.cluster.sha256},
        }
    return {
        "schema": SCHEMA,
        "planner_version": __version__,
        **source,
        "interrupted": interrupted,
        "axes": {name: list(values) for name, values in axes([row.point for row in rows]).items()},
        "rows": [row.document() for row in rows],
    }


def json_text(found: Mapping[str, Any]) -> str:
    """The document as text, one row a line."""
    rows = ",\n".join("  " + json.dumps(row, allow_nan=False) for row in found["rows"])
    head = json.dumps({key: value for key, value in found.items() if key != "rows"}, indent=1, allow_nan=False)
    return f'{head[:-2]},\n "rows": [\n{rows}\n ]\n}}\n'


def csv_text(rows: Sequence[Row]) -> str:
    """sweep.csv: the same columns; what is missing is empty, names of a list are joined by commas."""
    documents = [row.document() for row in rows]
    columns = dict.fromkeys(name for each in documents for name in each)
    order = [*(c for c in columns if c not in LAST), *(c for c in LAST if c in columns)]
    made = io.StringIO()
    writer = csv.DictWriter(made, order, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in each.items()} for each in documents)
    return made.getvalue()


LAST = ("status", "met", "seconds", "reason", "plan")
"""The last columns, whatever further figures some rows have."""


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def axes(points: Sequence[Point]) -> dict[str, list[Any]]:
    """The flags in which the points differ, with their values in the order of the grid."""
    found: dict[str, list[Any]] = {}
    for point in points:
        for name, value in point.all_flags.items():
            values = found.setdefault(name, [])
            plain = list(value) if isinstance(value, tuple) else value
            if plain not in values:
                values.append(plain)
    return {name: values for name, values in found.items() if len(values) > 1}


def in_words(name: str, value: Any) -> str:
    """A flag with its value, as people read it: ``memory cap 40 GiB``."""
    return f"{name.replace('_', ' ')} {value_in_words(name, value)}"


def value_in_words(name: str, value: Any) -> str:
    """The value of a flag, with its unit."""
    if value is None:
        return {"memory_cap": "of the cluster", "microbatches": "of the graph"}.get(name, "not given")
    if name == "memory_cap":
        return size(value)
    if name in ("time_limit", "max_makespan", "max_period"):
        return seconds(value)
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def titles(points: Sequence[Point]) -> list[str]:
    """The points by the flags in which they differ, in words."""
    varying = axes(points)
    return [
        ", ".join(in_words(name, point.all_flags.get(name)) for name in varying) or "the only point" for point in points
    ]


def names(points: Sequence[Point]) -> list[str]:
    """Names of files, from the flags in which the points differ; all different, and the same for the same grid."""
    plain = [re.sub(r"[^A-Za-z0-9.,_]+", "-", title.replace(", ", "_")) for title in titles(points)]
    often = Counter(plain)
    return [
        name if often[name] == 1 and len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}-{_digest(point)}"
        for name, point in zip(plain, points, strict=True)
    ]


def _digest(point: Point) -> str:
    text = json.dumps(point.all_flags, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:10]

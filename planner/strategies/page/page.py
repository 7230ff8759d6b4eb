"""The page of a space of strategies: one file with its style, its script and its data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from planner.common.version import __version__
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.report.facts import PlanFacts
from planner.report.html.page import (
    BASE,
    CHARTS,
    Shown,
    asset,
    filled,
    memory,
    page_data,
    policy,
    schedules,
    whole_script,
)
from planner.report.html.tables import device_table, text
from planner.strategies.page import serving, tables
from planner.strategies.page.columns import columns

PACKAGE = "planner.strategies.page"

SCRIPTS = ("space.js", "plot.js", "scatter.js", "serving.js", "parallel.js", "strategy.js")
"""In the order in which they stand in the page, after those of the report."""


def strategy_html(document: Mapping[str, Any], winner: Plan | None, problem: Problem | None) -> str:
    """The page of a ``planner-strategy`` document.

    ``winner``: the plan of its first strategy, whose step the page draws; ``problem``: one that the plan is valid for,
    with which the page knows memory over time and why streams wait.
    """
    serves = document.get("mode") == "inference"
    named = serving.named if serves else tables.named
    title = named(document["strategies"][0]) if document["strategies"] else "the plan"
    drawings = [] if winner is None else [Shown(winner, title, problem).drawing()]
    space = columns(document, _cap(document, winner))
    sections = (serving.sections if serves else tables.sections)(document, space["top"])
    documents, data = page_data(drawings, strategy=space)
    script = whole_script(
        [
            *(asset(name) for name in (*BASE, *(CHARTS if drawings else ()))),
            *(asset(name, PACKAGE) for name in SCRIPTS),
        ]
    )
    step = ""
    if winner is not None:
        step = filled(
            asset("step.html", PACKAGE),
            {
                **sections,
                "schedules": schedules(drawings, documents),
                "devices": device_table(drawings[0], PlanFacts(winner)),
                "memory": "" if problem is None else f"<h3>Memory over time</h3>{memory(drawings)}",
            },
        )
    parts = {
        "title": text(f"Strategy of {document['model']} on {document['cluster']}"),
        "policy": policy(script),
        "style": asset("report.css") + asset("strategy.css", PACKAGE),
        **sections,
        "space": tables.space_bar(document),
        "reasons": tables.reason_table(document),
        "step": step,
        "assumptions": tables.assumptions(document),
        "version": text(__version__),
        "data": data,
        "script": script,
    }
    return filled(asset("strategy.html", PACKAGE), parts)


def _cap(document: Mapping[str, Any], winner: Plan | None) -> float | None:
    """What a device holds at most: as the document says, else the smallest of the winner's devices; None: no cap."""
    if document.get("memory_cap") is not None:
        return float(document["memory_cap"])
    caps = [device.memory for device in winner.devices if device.memory is not None] if winner is not None else []
    finite = [cap for cap in caps if math.isfinite(cap)]
    return min(finite) if finite else None

"""``planner explain``: what makes a plan as long as it is, and what would help."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from planner.commands import flags as options
from planner.commands.common import ExitCode, emit, not_an_input, note, report_style
from planner.commands.problem_of_plan import in_full, label, presentable, problem_of_plan, sound_times
from planner.commands.running import ProgressLine
from planner.explain import explain
from planner.explain.again import Searching
from planner.explain.written import (
    explanation_document,
    explanation_html,
    explanation_markdown,
    explanation_text,
)
from planner.files.errors import InputError, shown
from planner.files.flag_values import UsageFault, quantity
from planner.files.plan_file import plan_error
from planner.files.whole import ensure_writable, write_whole
from planner.placement.layouts import LAYOUTS, check_layout
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.problem.quantities import SECONDS
from planner.simulate.replays import NotReplayed

EFFORT = 300
"""Of each search."""

SEARCHES = 9
"""Parts of the time limit, of which each search has one: seven always run, those of the least memory where it helps."""


class ExplainFormat(StrEnum):
    """Values of ``--format``."""

    text = "text"
    markdown = "markdown"
    json = "json"


@dataclass(frozen=True)
class ExplainFlags:
    """Options of ``planner explain``."""

    plan: options.PlanFile
    graph: options.PlanGraph
    cluster: options.PlanCluster
    effort: Annotated[
        int, typer.Option(min=0, metavar="N", help="Of each of the searches that show what helps; 0: none of them.")
    ] = EFFORT
    time_limit: Annotated[
        str, typer.Option(metavar="SECONDS", help="Of all searches together, such as 60 or '2 min'.")
    ] = "20"
    seed: options.Seed = 0
    html: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the report of the plan there as a page, with what is said here."),
    ] = None
    format: Annotated[
        ExplainFormat,
        typer.Option("--format", help="markdown is for a page or an issue, json one document for scripts."),
    ] = ExplainFormat.text
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False


def run(flags: ExplainFlags) -> int:
    """Explain the plan."""
    path = flags.plan
    if flags.html is not None:
        not_an_input(flags.html, {"plan": path, "graph": flags.graph, "cluster": flags.cluster}, "--html")
        ensure_writable(flags.html)
    plan = presentable(path)
    in_full(path, plan)
    sound_times(path, plan)
    problem = problem_of_plan(path, plan, flags.graph, flags.cluster)
    assert problem is not None, "graph and cluster are required"
    posed = _as_posed(path, plan, problem)
    limit = quantity("--time-limit", flags.time_limit, SECONDS)
    if limit <= 0:
        raise UsageFault("--time-limit must be above 0")
    searching = Searching(flags.effort, limit / SEARCHES, flags.seed)
    line = ProgressLine() if ProgressLine.wanted(flags.quiet) else None
    try:
        made = explain(plan, posed, searching, (lambda what: None) if line is None else line.say)
    except NotReplayed as error:
        raise InputError(path, None, None, f"is no valid plan: {error}") from error
    finally:
        if line is not None:
            line.clear()
    if flags.html is not None:
        from planner.report.html import Shown, report_html

        write_whole(flags.html, report_html(Shown(plan, label(path, plan), problem), explained=explanation_html(made)))
        note(f"report written to {flags.html}", flags.quiet)
    if flags.format is ExplainFormat.json:
        emit(json.dumps(explanation_document(made), indent=1, allow_nan=False) + "\n")
    elif flags.format is ExplainFormat.markdown:
        emit(explanation_markdown(made))
    else:
        emit(explanation_text(made, *report_style()))
    return ExitCode.DONE


def _as_posed(path: Path, plan: Plan, problem: Problem) -> Problem:
    """The problem with the layout that the plan was asked for."""
    layout: Any = plan.options.get("layout") or "auto"
    if layout not in ("auto", *LAYOUTS):
        known = ", ".join(("auto", *LAYOUTS))
        raise plan_error(path, ["options", "layout"], f"{shown(layout)} is no layout: there are {known}")
    try:
        check_layout(layout, problem.copies, problem.chunks)
    except ValueError as error:
        raise plan_error(path, ["options", "layout"], str(error)) from error
    return replace(problem, layout=layout)

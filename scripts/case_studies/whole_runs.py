"""Runs of whole steps: our plan with every choice, each in a process of its own, and the baselines with each."""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from case_studies.runs import GRACE, ROOT, measured
from case_studies.whole_graphs import CHOSEN, graph_for
from case_studies.whole_listed import BEGUN, OURS, Case, Choice, Row, best_baseline
from planner.baselines import BASELINES, NotApplicable, baseline_timetable
from planner.files import read_cluster, read_graph
from planner.files.whole import write_whole
from planner.problem import Problem
from planner.report.variants import kind_of
from planner.timetable.figures import figures

KEPT = ("makespan", "lower_bound", "placement_lower_bound", "gap", "bubble_ratio", "status", "notes")


PLANS = ROOT / "build" / "whole-steps"
"""Where the plans of uniform choices are kept, to begin with."""


def runs_of(case: Case) -> list[Choice]:
    """Our run, then every uniform choice, then ours once more from the best of these on, where the case asks for it."""
    return [Choice(OURS), *case.choices, *([Choice(BEGUN)] if case.begun else [])]


def run(case: Case, choice: Choice, limit: float, start: Path | None = None) -> Row:
    """The figures of the plan of a choice, verified; ``error`` if there is none. ``start``: a plan to begin with."""

    def plan(files: list[str], out: str) -> list[str]:
        variants = CHOSEN if choice.kinds else OURS if choice.name == BEGUN else choice.name
        flags = [*case.flags, "--variants", variants, "--time-limit", f"{limit:g}", "--baselines", "none", "--quiet"]
        return ["solve", *files, *flags, *([] if start is None else ["--start", str(start)]), "-o", out]

    return {"limit": limit} | _planned(case, choice, plan, limit, None if start else kept_plan(case, choice.name))


def kept_plan(case: Case, choice: str) -> Path:
    """Where the plan of a choice is kept."""
    return PLANS / f"{case.name} {choice}.json".replace(" ", "-").replace(",", "")


def baseline(case: Case, choice: Choice, name: str) -> Row:
    """The same of the plan of a baseline."""

    def plan(files: list[str], out: str) -> list[str]:
        cap = [] if case.cap is None else ["--memory-cap", f"{case.cap:g}GiB"]
        return ["baseline", name, *files, *cap, "--variant", _name(choice), "--quiet", "-o", out]

    return {"choice": choice.name} | _planned(case, choice, plan, GRACE)


def _planned(
    case: Case,
    choice: Choice,
    command: Callable[[list[str], str], list[str]],
    limit: float,
    kept: Path | None = None,
) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        files, out = _files(case, choice, Path(folder)), Path(folder) / "plan.json"
        row = measured(command(files, str(out)), limit + GRACE)
        last = row.pop("last_line")
        if not out.is_file():
            return row | {"error": last}
        checked = measured(["verify", str(out), "--graph", files[0], "--cluster", files[1]], GRACE)
        text = out.read_text(encoding="utf-8")
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_whole(kept, text)
        plan = json.loads(text)
        return row | {"plan": _figures(plan), "verified": checked["exit"] == 0}


def baselines(case: Case) -> list[Row]:
    """Every baseline that applies with every uniform choice."""
    rows = []
    for choice in case.choices:
        problem = _problem(case, choice)
        for name in BASELINES:
            try:
                timetable = baseline_timetable(name, problem, _name(choice))
            except NotApplicable:
                continue
            found = figures(problem, timetable)
            rows.append(
                {
                    "name": name,
                    "choice": choice.name,
                    "makespan": found.makespan,
                    "peak_memory": found.peak_memory,
                    "copies": timetable.placement.copies,
                    "fits": found.fits,
                }
            )
    return rows


def baseline_plans(case: Case, row: Row) -> dict[str, Row]:
    """Plans of the best baseline that fits and of those that stand beside ours, by name, each with its best choice."""
    by_name = {choice.name: choice for choice in case.choices}
    best = best_baseline(row)
    found = {}
    for name in dict.fromkeys([*([best["name"]] if best else []), *case.beside]):
        fitting = best_baseline(row, name)
        if fitting is not None:
            found[name] = baseline(case, by_name[fitting["choice"]], name)
            if name in case.beside:
                found[name]["without_exchanges"] = _without_exchanges(case, by_name[fitting["choice"]], name)
    return found


def _without_exchanges(case: Case, choice: Choice, name: str) -> float:
    """The makespan of a baseline whose copies keep their gradients to themselves."""
    problem = _problem(case, choice)
    operators = tuple(replace(operator, gradient=0.0) for operator in problem.graph.operators)
    alone = replace(problem, graph=replace(problem.graph, operators=operators))
    return figures(alone, baseline_timetable(name, alone, _name(choice))).makespan


def _name(choice: Choice) -> str:
    return CHOSEN if choice.kinds else choice.name


def _files(case: Case, choice: Choice, folder: Path) -> list[str]:
    own = ROOT / "configs" / case.config
    graph = graph_for(own / "graph.yaml", case.step, choice.kinds, folder / "graph.yaml")
    return [str(graph), str(own / "cluster.yaml")]


def _problem(case: Case, choice: Choice) -> Problem:
    """What baselines are replayed on; they bring their own copies."""
    with tempfile.TemporaryDirectory() as folder:
        files = _files(case, choice, Path(folder))
        graph, cluster = read_graph(Path(files[0])), read_cluster(Path(files[1]))
    cap = None if case.cap is None else case.cap * 2**30
    return Problem(graph, cluster, graph.microbatches, memory_cap=cap)


def _figures(plan: dict[str, Any]) -> Row:
    """The figures of plan.json that a row keeps."""
    found = {key: plan.get(key) for key in KEPT}
    found["peak_memory"] = max(device["peak_memory"] for device in plan["devices"])
    found["copies"] = 1 + max(entry["copy"] for entry in plan["placement"])
    versions: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in plan["placement"]:
        versions[kind_of(entry["operator"])][entry.get("variant", "base")] += 1
    found["versions"] = {kind: dict(counts) for kind, counts in versions.items()}
    found["tasks"] = len(plan["tasks"])
    found["step_tasks"] = sum(task["microbatch"] is None for task in plan["tasks"])
    found["last_microbatch"] = max(task["end"] for task in plan["tasks"] if task["microbatch"] is not None)
    channels: Counter[tuple[str, str]] = Counter()
    exchanges = [transfer for transfer in plan["transfers"] if transfer["microbatch"] is None]
    for transfer in exchanges:
        channels[transfer["from"], transfer["to"]] += transfer["end"] - transfer["start"]
    found["exchanges"] = len(exchanges)
    found["exchange_seconds"] = max(channels.values(), default=0.0)
    return found

"""Runs one case: the command in a process of its own, measured from outside, then its rivals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from case_studies.listed import Case, Row
from case_studies.loads import period
from case_studies.rivals import least_period, rivals
from planner.baselines import BASELINES, NotApplicable, baseline_timetable
from planner.baselines.replayed import baseline_figures
from planner.files import read_cluster, read_graph
from planner.files.plan_file import read_plan
from planner.problem import Problem
from planner.timetable.figures import figures

ROOT = Path(__file__).resolve().parent.parent.parent
GRACE = 120
"""Seconds after the time limit at which a command is killed."""

KEPT = ("makespan", "lower_bound", "placement_lower_bound", "gap", "bubble_ratio", "status", "objective", "notes")


def run(case: Case, limit: float | None, with_cpsat: bool = False) -> Row:
    """The figures of a case; ``error`` if there is no plan. CP-SAT is given the placement of the plan."""
    seconds = case.seconds if limit is None else limit
    row: Row = {"config": case.config, "flags": list(case.flags), "limit": seconds, "by": "makespan"}
    if case.by_period:
        row["by"] = "period"
    posed = problem_of(case)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "plan.json"
        files = [str(ROOT / "configs" / case.config / f"{which}.yaml") for which in ("graph", "cluster")]
        command = ["solve", *files, *case.flags, "--time-limit", f"{seconds:g}", "--quiet", "-o", str(out)]
        row |= measured(command, seconds + GRACE)
        if not out.is_file():
            row["error"] = row.pop("last_line")
        else:
            row.pop("last_line")
            plan = json.loads(out.read_text(encoding="utf-8"))
            row["plan"] = _figures(plan, posed)
            checked = measured(["verify", str(out), "--graph", files[0], "--cluster", files[1]], GRACE)
            row["verified"] = checked["exit"] == 0
            if with_cpsat and not case.by_period:
                from case_studies.cpsat import cpsat, placement_of

                row["cpsat"] = cpsat(posed, placement_of(read_plan(out), posed), seconds)
    row["baselines"] = [] if case.by_period else baselines(posed)
    row["rivals"] = least_period(posed) if case.by_period else rivals(posed)
    return row


def baselines(problem: Problem) -> list[Row]:
    """Every baseline that applies (the plan's own table leaves out those that there was no time for)."""
    found = []
    for name in BASELINES:
        try:
            timetable = baseline_timetable(name, problem)
        except NotApplicable:
            continue
        row = baseline_figures(name, figures(problem, timetable), timetable)
        found.append({key: getattr(row, key) for key in ("name", "makespan", "bubble_ratio", "peak_memory", "fits")})
    return found


def problem_of(case: Case) -> Problem:
    """The problem of a case's files and flags; rivals solve the same one."""
    folder = ROOT / "configs" / case.config
    graph, cluster = read_graph(folder / "graph.yaml"), read_cluster(folder / "cluster.yaml")
    given = dict(zip(case.flags, case.flags[1:], strict=False))
    cap = given.get("--memory-cap")
    return Problem(
        graph,
        cluster,
        int(given.get("--microbatches", graph.microbatches)),
        copies=int(given.get("--copies", "1")),
        memory_cap=None if cap is None else float(cap),
    )


def _figures(plan: dict[str, Any], problem: Problem) -> Row:
    """The figures of plan.json that a row keeps."""
    found = {key: plan.get(key) for key in KEPT}
    if plan["objective"] == "period":  # the gap of the objective
        found["lower_bound"], found["gap"] = plan["period_lower_bound"], plan["period_gap"]
    found["peak_memory"] = max(device["peak_memory"] for device in plan["devices"])
    found["copies"] = 1 + max(entry["copy"] for entry in plan["placement"])
    found["tasks"] = len(plan["tasks"])
    found["microbatches"] = plan["microbatches"]
    if found["copies"] == 1:
        place = {entry["operator"]: problem.cluster.index[entry["device"]] for entry in plan["placement"]}
        found["period"] = period(problem, [place[operator.name] for operator in problem.operators])
    return found


def measured(arguments: list[str], timeout: float) -> Row:
    """Exit code, seconds of the whole command, peak bytes of its process, and its last line on stderr."""
    command = [str(Path(sys.executable).with_name("planner")), *arguments]
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors)
        exited, status, usage = 0, 0, None
        while not exited:
            exited, status, usage = os.wait4(process.pid, os.WNOHANG)
            if not exited:
                time.sleep(0.02)
                if time.perf_counter() - started > timeout:
                    process.kill()
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        lines = errors.read().decode("utf-8", "replace").strip().splitlines() or ["no message"]
    assert usage is not None
    rss = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {"exit": process.returncode, "wall_seconds": seconds, "peak_rss": rss, "last_line": lines[-1]}

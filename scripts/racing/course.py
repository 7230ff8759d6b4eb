"""Runs the racers, one process after the other, and collects their results."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from planner.objectives.certified import verified
from planner.plan.build import build_plan
from planner.problem import Problem
from racing import shop, whole
from racing.cases import WHOLE, Case
from racing.problem import read, write

SCRIPTS = Path(__file__).resolve().parents[1]
GRACE = 6.0
"""Seconds after its limit at which a racer is killed; `planner solve` promises 5."""

IMPOSSIBLE = 3
"""The exit code of `planner solve` where no plan exists."""

RACERS = ("ours", "cpsat", "cpsat-ordered", "bigm", "heuristics")
Run = dict[str, Any]


def race(case: Case, racers: tuple[str, ...], limits: dict[str, float]) -> dict[str, Run]:
    """The run of each racer on a case."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(case, folder)
        problem = read(folder, case.flags)
        if case.placement == WHOLE:
            return _whole(case, problem, folder, racers, limits)
        placement = shop.placement_of(case.placement, problem)
        tasks = shop.build(problem, placement)
        (folder / "shop.json").write_text(tasks.to_json(), encoding="utf-8")
        runs = {}
        for racer in racers:
            print(f"{case.name}: {racer} ...", file=sys.stderr, flush=True)
            run = watch(command(racer, case, folder, limits[racer]), limits[racer])
            starts, ways = run.pop("start", None), run.pop("way", None)
            if starts is not None:
                check(problem, shop.timetable(problem, placement, tasks, starts, ways), run["incumbents"][-1][1])
            runs[racer] = _with_plan(run, folder) if racer == "ours" else run
    return runs


def _whole(
    case: Case, problem: Problem, folder: Path, racers: tuple[str, ...], limits: dict[str, float]
) -> dict[str, Run]:
    """Ours with one thread, and CP-SAT with one worker on the whole problem."""
    tables = whole.build(problem)
    (folder / "whole.json").write_text(tables.to_json(), encoding="utf-8")
    runs = {}
    for racer in racers:
        print(f"{case.name}: {racer} ...", file=sys.stderr, flush=True)
        if racer == "ours":
            words = [*command(racer, case, folder, limits[racer]), "--threads", "1"]
            runs[racer] = _with_plan(watch(words, limits[racer]), folder)
            continue
        runs[racer] = run = watch(judge(folder / "whole.json", limits[racer]), limits[racer])
        found = run.pop("whole", None)
        if found is not None:
            check(problem, whole.timetable(problem, tables, found), run["incumbents"][-1][1])
    return runs


def judge(path: Path, limit: float) -> list[str]:
    """The command of CP-SAT on the whole problem."""
    return [sys.executable, "-m", "racing.interval", str(path), "{began}", f"{limit:g}"]


def _with_plan(run: Run, folder: Path) -> Run:
    """Our run with the figures of its plan, or the proof that there is none."""
    if (folder / "plan.json").is_file():
        plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        run |= {key: plan[key] for key in ("makespan", "lower_bound", "status")}
        run["notes"] = plan.get("notes", [])[:1]
    elif run.get("exit") == IMPOSSIBLE:
        run["status"] = "infeasible"
        run.pop("reason", None)
    return run


def command(racer: str, case: Case, folder: Path, limit: float) -> list[str]:
    """The command of a racer's process; ``watch`` puts the instant of its start in place of `{began}`."""
    python = [sys.executable, "-m"]
    if racer == "ours":
        files = [str(folder / "graph.yaml"), str(folder / "cluster.yaml"), "-o", str(folder / "plan.json")]
        return [*python, "racing.ours", "{began}", *files, *case.flags, "--time-limit", f"{limit:g}", "--quiet"]
    if racer == "heuristics":
        return [*python, "racing.heuristics", str(folder), "{began}", f"{limit:g}", *case.flags]
    module, _, variant = racer.partition("-")
    return [
        *python,
        f"racing.{module}",
        str(folder / "shop.json"),
        "{began}",
        f"{limit:g}",
        *([variant] * bool(variant)),
    ]


def watch(arguments: list[str], limit: float) -> Run:
    """Start a process, record its reports, and kill it if it does not end within ``limit`` and ``GRACE`` seconds."""
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out, tempfile.TemporaryFile("w+", encoding="utf-8") as err:
        process = subprocess.Popen(
            [word.format(began=repr(began)) if word == "{began}" else word for word in arguments],
            stdout=out,
            stderr=err,
            env=environment,
            start_new_session=True,
        )
        try:
            process.wait(limit + GRACE)
            killed = False
        except subprocess.TimeoutExpired:
            killed = True
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        seconds = time.monotonic() - began
        out.seek(0)
        err.seek(0)
        run = told(out.read().splitlines())
        trouble = err.read().strip().splitlines()
    run |= {"seconds": round(seconds, 2), "when": time.strftime("%Y-%m-%d %H:%M")}
    if killed:
        run |= {"status": "killed", "reason": f"did not end {GRACE:g} s after its limit"}
    elif process.returncode:
        run |= {"status": "failed", "reason": (trouble or [f"exit code {process.returncode}"])[-1]}
    return run


def told(lines: list[str]) -> Run:
    """The incumbents and bounds in the lines of a racer, and its other reports."""
    run: Run = {"incumbents": [], "bounds": []}
    for line in lines:
        if not line.startswith('{"t": '):
            continue  # the report of `planner solve`
        try:
            news = json.loads(line)
        except ValueError:
            continue  # cut off in the middle of a line
        at = news.pop("t")
        for key, kept in (("best", "incumbents"), ("bound", "bounds")):
            if key in news:
                run[kept].append([at, news.pop(key)])
        run |= news
    return run


def check(problem: Problem, timetable: Any, makespan: float) -> None:
    """Verify a rival's plan as our own plans are, so that no model is faster because it omits a rule."""
    plan = verified(
        build_plan(
            problem,
            timetable,
            origin="solve",
            status="feasible",
            lower_bound=0.0,
            placement_lower_bound=0.0,
            options={},
            solve_seconds=0.0,
        ),
        problem,
    )
    if plan.makespan > makespan * (1 + 1e-6):  # it may be shorter: a solver that is cut off may leave slack
        raise SystemExit(f"a rival reports {makespan} s, but its plan takes {plan.makespan} s")

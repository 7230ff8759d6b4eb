"""``planner solve`` and ``planner baseline``: from two files to a plan."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.baselines import BASELINES, NotApplicable
from planner.baselines.registry import SCHEDULES
from planner.commands.common import ExitCode, UsageFault, emit, leave_now, not_an_input, note, quantity, ratio
from planner.commands.common import report_style as style
from planner.commands.running import GRACE, START, Abandoned, ProgressLine, run_solve, signals_caught
from planner.common.budget import Control
from planner.files import InputError, read_cluster, read_graph
from planner.files.errors import listed
from planner.files.graph_file import MAX_MICROBATCHES
from planner.files.whole import ensure_writable, write_whole
from planner.objectives.baseline import baseline_plan
from planner.objectives.options import NoPlan, SolveOptions
from planner.objectives.registry import OBJECTIVES, objectives_with
from planner.placement.layouts import check_layout
from planner.plan.plan import Plan, plan_to_json
from planner.problem import ByDevice, Cluster, Graph, Problem
from planner.problem.quantities import BYTES, SECONDS
from planner.report.facts import PlanFacts
from planner.report.line import report_line
from planner.report.words import percent, seconds, size

DEFAULT_TIME_LIMIT = 60.0
"""Seconds."""

RESERVE = 4.0
"""The command ends this many seconds after the time limit, whatever happens; the contract says 5."""


@dataclass(frozen=True)
class Inputs:
    """Flags that ``solve`` and ``baseline`` share, as they were given."""

    graph: Path
    cluster: Path
    output: str | None
    microbatches: int | None
    chunks: int | None
    memory_cap: str | None
    json: bool
    quiet: bool

    def check_output(self) -> None:
        """Raise now where the plan could not be written later."""
        if self.output is not None and self.output != "-":
            not_an_input(self.output, {"graph": self.graph, "cluster": self.cluster})
            ensure_writable(self.output)

    def problem(self, **more: Any) -> Problem:
        """Read both files and pose the problem."""
        cap = None if self.memory_cap is None else quantity("--memory-cap", self.memory_cap, BYTES)
        graph, cluster = read_graph(self.graph), read_cluster(self.cluster)
        note_unknown_devices(graph, cluster, self.quiet)
        microbatches = graph.microbatches if self.microbatches is None else self.microbatches
        if microbatches > MAX_MICROBATCHES:
            raise UsageFault(f"--microbatches must be at most {MAX_MICROBATCHES}")
        return Problem(graph, cluster, microbatches, memory_cap=cap, chunks=self.chunks, **more)


def note_unknown_devices(graph: Graph, cluster: Cluster, quiet: bool) -> None:
    """Say which names in pass times the cluster does not have: measured elsewhere, or misspelt."""
    costs = (cost for operator in graph.operators for cost in operator.times.values())
    named = {name for cost in costs if isinstance(cost, ByDevice) for name in cost.seconds}
    unknown = sorted(named - cluster.names())
    if unknown:
        shown = ", ".join(unknown[:5]) + (", ..." if unknown[5:] else "")
        note(f"pass times name {shown}: cluster {cluster.name!r} has no such device, group or type", quiet)


@dataclass(frozen=True)
class Search:
    """Flags of ``solve`` alone, as they were given."""

    objective: str
    max_makespan: str | None
    max_period: str | None
    copies: int
    layout: str
    time_limit: str | None
    effort: int | None
    gap: str
    seed: int
    threads: int
    baselines: str
    max_bubble: str | None
    beat: str | None


def solve_command(inputs: Inputs, search: Search, begun: float) -> int:
    """``planner solve``. ``begun``: when the command started."""
    stop = threading.Event()
    with signals_caught(stop) as signals:
        time_limit = _time_limit(search)
        gap = ratio("--gap", search.gap)
        longest = _limit("--max-makespan", search.max_makespan, search.objective)
        period = _limit("--max-period", search.max_period, search.objective)
        max_bubble = None if search.max_bubble is None else ratio("--max-bubble", search.max_bubble)
        baselines = _baseline_names(search.baselines, search.beat)
        _check_layout(search.layout, search.copies, inputs.chunks)
        inputs.check_output()
        problem = inputs.problem(copies=search.copies, layout=search.layout)
        options = SolveOptions.of(
            problem,
            time_limit=time_limit,
            effort=search.effort,
            gap=gap,
            seed=search.seed,
            threads=search.threads,
            baselines=baselines,
            objective=search.objective,
            max_makespan=longest,
            max_period=period,
        )
        started = min(time.monotonic(), begun + START)
        effort = math.inf if search.effort is None else float(search.effort)
        control = Control(time_limit, stop_requested=stop, started=started, effort=effort)
        latest = min(begun + time_limit + RESERVE, started + time_limit + GRACE)
        try:
            outcome = run_solve(problem, control, options, signals, latest, ProgressLine.wanted(inputs.quiet))
        except NoPlan as error:
            why = ""
            if signals.received:
                why = " (interrupted)"
            elif control.effort_left <= 0:
                why = " (a larger --effort may find one)"
            elif control.over:
                why = f" (time limit of {seconds(time_limit)}; a longer --time-limit may find one)"
            note(f"no plan, and no proof that there is none: {error}{why}")
            if isinstance(error, Abandoned):
                leave_now(ExitCode.NO_PLAN)
            return ExitCode.NO_PLAN
        code = deliver(outcome.plan, inputs)
        if _missed(outcome.plan, max_bubble, search.beat, inputs.quiet) and code == ExitCode.DONE:
            code = ExitCode.THRESHOLD
        if outcome.abandoned:
            leave_now(code)
        return code


def baseline_command(name: str, inputs: Inputs) -> int:
    """``planner baseline``."""
    _known(name, "baseline")
    if inputs.chunks is not None and inputs.chunks > 1 and SCHEDULES[name].chunks == 1:
        chunked = listed(n for n in BASELINES if SCHEDULES[n].chunks > 1) or "none"
        raise UsageFault(f"{name} puts one chunk on a device: leave out --chunks (schedules that take it: {chunked})")
    inputs.check_output()
    problem = inputs.problem()
    try:
        plan = baseline_plan(name, problem)
    except NotApplicable as reason:
        note(f"{name} does not apply: {reason}")
        return ExitCode.INFEASIBLE
    code = deliver(plan, inputs)
    over = PlanFacts(plan).over_cap
    if over:
        worst = max(over, key=lambda device: device.peak_memory - (device.memory or 0.0))
        needs = f"{worst.name} needs {size(worst.peak_memory)}, its cap is {size(worst.memory)}"
        count = f" (over the cap on {len(over)} devices)" if len(over) > 1 else ""
        note(f"{name} does not fit in memory: {needs}{count}", inputs.quiet)
    return code


def deliver(plan: Plan, inputs: Inputs) -> ExitCode:
    """Write the plan where it was asked for, then print it or its report."""
    if inputs.output == "-":
        emit(plan_to_json(plan))
        return ExitCode.DONE
    code = ExitCode.DONE
    if inputs.output is not None:
        try:
            write_whole(inputs.output, plan_to_json(plan))
        except InputError as error:  # it was writable when the search began; the report is not lost with the file
            note(str(error))
            code = ExitCode.INTERNAL
        else:
            note(f"plan written to {inputs.output}", inputs.quiet)
    if inputs.json:
        emit(plan_to_json(plan))
    elif inputs.quiet:
        emit(report_line(plan))
    else:
        from planner.report.text import report_text  # what draws tables is not loaded before the plan is written

        emit(report_text(plan, *style()))
    return code


def _time_limit(search: Search) -> float:
    """Seconds; without a limit of time or effort a minute, with one of effort alone none."""
    if search.time_limit is None:
        return DEFAULT_TIME_LIMIT if search.effort is None else math.inf
    time_limit = quantity("--time-limit", search.time_limit, SECONDS)
    if time_limit <= 0:
        raise UsageFault("--time-limit must be above 0")
    return time_limit


def _limit(flag: str, given: str | None, objective: str) -> float | None:
    """Seconds that a flag of some objectives gives; None where it was not given."""
    if objective not in OBJECTIVES:
        raise UsageFault(f"--objective: unknown objective {objective!r}; known are {listed(OBJECTIVES)}")
    if given is None:
        return None
    objectives = objectives_with(flag.removeprefix("--").replace("-", "_"))
    if objective not in objectives:
        raise UsageFault(f"{flag} goes with --objective {' or '.join(objectives)}")
    limit = quantity(flag, given, SECONDS)
    if limit <= 0:
        raise UsageFault(f"{flag} must be above 0")
    return limit


def _known(name: str, what: str) -> None:
    if name not in BASELINES:
        raise UsageFault(f"{what}: unknown schedule {name!r}; known are {listed(BASELINES, most=40)}")


def _baseline_names(text: str, beat: str | None) -> tuple[str, ...]:
    """The baselines to compare with, in the order in which they are reported; the one to beat is among them."""
    if text == "all":
        wanted = set(BASELINES)
    elif text in ("none", ""):
        wanted = set()
    else:
        wanted = {name.strip() for name in text.split(",")}
        for name in sorted(wanted):
            _known(name, "--baselines")
    if beat is not None:
        _known(beat, "--beat")
        wanted.add(beat)
    return tuple(name for name in BASELINES if name in wanted)


def _check_layout(layout: str, copies: int, chunks: int | None) -> None:
    try:
        check_layout(layout, copies, chunks)
    except ValueError as error:
        raise UsageFault(f"--{error}") from error


def _missed(plan: Plan, max_bubble: float | None, beat: str | None, quiet: bool) -> bool:
    """Whether the plan misses a threshold; says on stderr which and by how much."""
    missed = False
    if max_bubble is not None and plan.bubble_ratio > max_bubble:
        note(f"threshold not met: bubble {percent(plan.bubble_ratio)} is above --max-bubble {percent(max_bubble)}")
        missed = True
    if beat is not None:
        missed |= not _beats(plan, beat, quiet)
    return missed


def _beats(plan: Plan, beat: str, quiet: bool) -> bool:
    """Whether the plan is faster than the baseline, or the baseline cannot run here."""
    row = next((b for b in plan.baselines if b.name == beat), None)
    faster = None if row is None else PlanFacts(plan).faster_than(row)
    if row is not None and row.reason is not None:
        note(f"--beat {beat}: met, for it does not apply here: {row.reason}", quiet)
        return True
    if row is None or row.makespan is None or faster is None:
        note(f"threshold not met: --beat {beat}: its makespan is not known, the search ended before")
        return False
    if row.fits is False:
        note(f"--beat {beat}: met, for it does not fit in memory here", quiet)
        return True
    if not faster:
        note(
            f"threshold not met: --beat {beat}: makespan {seconds(plan.makespan)} is not below its "
            f"{seconds(row.makespan)}"
        )
    return faster

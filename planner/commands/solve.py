"""``planner solve``: from two files to the best plan that is found in the time given."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from typing import Annotated, Any

import typer

from planner.baselines import BASELINES
from planner.commands import flags as shared
from planner.commands.common import ExitCode, leave_now, note
from planner.commands.declared import Help, Joined, OneOf, Reads, Recorded, flag_of, recorded
from planner.commands.deliver import deliver
from planner.commands.inputs import check_output, problem_of
from planner.commands.lazy import BEGUN
from planner.commands.names import baselines_named, known_baseline
from planner.commands.running import GRACE, START, Abandoned, ProgressLine, run_solve, signals_caught
from planner.common.budget import Control
from planner.files.errors import shown
from planner.files.flag_values import UsageFault, duration, ratio
from planner.objectives.options import NoPlan, SolveOptions
from planner.objectives.registry import OBJECTIVES, objectives_with
from planner.placement.layouts import LAYOUTS, check_layout
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.report.thresholds import thresholds
from planner.report.weak import weakness
from planner.report.words import seconds
from planner.runtimes.names import ANY

DEFAULT_TIME_LIMIT = 60.0
"""Seconds."""

RESERVE = 4.0
"""The command ends this many seconds after the time limit, whatever happens; the contract says 5."""


def _with(limit: str) -> str:
    """The objectives with which a limit goes, in words."""
    return " or ".join(objectives_with(limit))


def _objective_help() -> str:
    return f"What to minimise; {'; '.join(f'{each.name}: {each.help}' for each in OBJECTIVES.values())}."


def _max_makespan_help() -> str:
    return f"With --objective {_with('max_makespan')}.  [default: the best makespan found]"


def _max_period_help() -> str:
    return f"With --objective {_with('max_period')}: the longest period allowed."


def _layouts() -> tuple[str, ...]:
    return ("auto", *LAYOUTS)


@dataclass(frozen=True)
class SolveFlags:
    """Options of ``planner solve``, as they are given. A new option is a field here, and the code that uses it.

    Those marked ``Recorded`` are the ``options`` of plan.json, in this order.
    """

    graph: shared.GraphFile
    cluster: shared.ClusterFile
    output: shared.Output = None
    objective: Annotated[
        str,
        typer.Option(),
        Help(_objective_help),
        OneOf(OBJECTIVES.keys),
        Recorded(),
    ] = "makespan"
    max_makespan: Annotated[
        str | None,
        typer.Option(metavar="SECONDS"),
        Help(_max_makespan_help),
        Recorded(duration),
    ] = None
    max_period: Annotated[
        str | None,
        typer.Option(metavar="SECONDS"),
        Help(_max_period_help),
        Recorded(duration),
    ] = None
    microbatches: shared.Microbatches = None
    copies: Annotated[
        int,
        typer.Option(min=1, metavar="K", help="Most copies of the operators; 2 allows bidirectional plans."),
        Recorded(),
    ] = 1
    layout: Annotated[
        str,
        typer.Option(help="Which placements are allowed; auto: all."),
        OneOf(_layouts),
        Recorded(),
    ] = "auto"
    chunks: shared.Chunks = None
    memory_cap: shared.MemoryCap = None
    variants: shared.Variants = None
    runtime: shared.Runtime = ANY
    start: Annotated[
        str | None,
        typer.Option(
            metavar="PLAN", help="Begin with the placement and the order of this plan, such as that of an earlier run."
        ),
    ] = None
    time_limit: Annotated[
        str | None,
        typer.Option(metavar="SECONDS", help="Such as 60 or '2 min'.  [default: 60; none with --effort]"),
        Recorded(duration),
    ] = None
    effort: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Schedules evaluated and branch-and-bound nodes: the same plan on any machine."
        ),
        Recorded(),
    ] = None
    gap: Annotated[
        str, typer.Option(metavar="G", help="A plan within this fraction of the bound is optimal."), Recorded(ratio)
    ] = "1e-6"
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, metavar="S", help="Seed of the search."), Recorded()] = 0
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="T", help="Threads of the search.  [default: all cores, up to 8]"),
        Recorded(),
    ] = None
    baselines: Annotated[
        str, typer.Option(metavar="A,B|all|none", help="Baselines to compare with."), Joined(), Recorded()
    ] = "all"
    max_bubble: Annotated[
        str | None, typer.Option(metavar="R", help="Exit with 5 where the bubble ratio is above this."), Reads(ratio)
    ] = None
    beat: Annotated[
        str | None, typer.Option(metavar="NAME", help="Exit with 5 where the plan is not faster than this baseline.")
    ] = None
    compact: shared.Compact = False
    format: shared.OutputFormat = shared.Format.text
    quiet: shared.Quiet = False


def run(flags: SolveFlags) -> int:
    """Solve within the limits, deliver the plan, and check the thresholds."""
    begun = BEGUN.get()
    stop = threading.Event()
    with signals_caught(stop) as signals:
        read, max_bubble = options_read(flags)
        time_limit = read["time_limit"]
        check_output(flags.output, flags.graph, flags.cluster)
        problem = problem_of(flags, copies=flags.copies, layout=flags.layout, variants=read.get("variants"))
        options = beginning(search_options(problem, read), flags, problem)
        started = min(time.monotonic(), begun + START)
        effort = math.inf if flags.effort is None else float(flags.effort)
        control = Control(time_limit, stop_requested=stop, started=started, effort=effort)
        control.notice = partial(note, quiet=flags.quiet)
        latest = min(begun + time_limit + RESERVE, started + time_limit + GRACE)
        try:
            outcome = run_solve(problem, control, options, signals, latest, ProgressLine.wanted(flags.quiet))
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
        code = deliver(outcome.plan, flags, problem)
        weak = weakness(outcome.plan)
        if weak is not None:
            note(weak, flags.quiet)
        if _missed(outcome.plan, max_bubble, flags.beat, flags.quiet) and code == ExitCode.DONE:
            code = ExitCode.THRESHOLD
        if outcome.abandoned:
            leave_now(code)
        return code


def options_read(flags: SolveFlags) -> tuple[dict[str, Any], float | None]:
    """The options as values, in the order of plan.json, a time limit of inf for none; and ``--max-bubble``.

    Raises ``UsageFault`` for a value that cannot be read, and for options that do not go together.
    """
    read = recorded(flags)
    _check_objective(flags)
    _check_layout(flags.layout, flags.copies, flags.chunks)
    max_bubble = None if flags.max_bubble is None else ratio("--max-bubble", flags.max_bubble)
    read["baselines"] = _baseline_names(flags.baselines, flags.beat)
    read["time_limit"] = _time_limit(read)
    return read, max_bubble


def search_options(problem: Problem, read: dict[str, Any]) -> SolveOptions:
    """The options that the search takes; plan.json records all that were read, in their order."""
    taken = signature(SolveOptions.of).parameters
    options = SolveOptions.of(problem, **{name: value for name, value in read.items() if name in taken})
    return replace(options, flags={name: options.flags.get(name, value) for name, value in read.items()})


def beginning(options: SolveOptions, flags: SolveFlags, problem: Problem) -> SolveOptions:
    """The options with the plan to begin with, of which plan.json records the hash of the file.

    Raises ``UsageFault`` where the plan is of no use, ``InputError`` where it is none.
    """
    if flags.start is None:
        return options
    if flags.objective != "makespan" or flags.runtime != ANY:
        raise UsageFault("--start goes with --objective makespan and without --runtime")
    from planner.files.plan_file import read_plan_file
    from planner.objectives.start import start_of

    read = read_plan_file(flags.start)
    named = hashlib.sha256(read.text.encode("utf-8")).hexdigest()
    try:
        return replace(options, start=start_of(read.plan, problem), flags={**options.flags, "start": named})
    except ValueError as error:
        raise UsageFault(f"--start {shown(flags.start)}: {error}") from error


def _time_limit(read: dict[str, Any]) -> float:
    """Seconds: the limit given; else ``DEFAULT_TIME_LIMIT``, or inf if there is a limit of effort."""
    if read["time_limit"] is not None:
        return float(read["time_limit"])
    return DEFAULT_TIME_LIMIT if read["effort"] is None else math.inf


def _check_objective(flags: SolveFlags) -> None:
    """Refuse a limit that does not go with the objective."""
    if flags.runtime != ANY and flags.objective != "makespan":
        raise UsageFault(f"--runtime {flags.runtime} goes with --objective makespan")
    for limit, given in (("max_makespan", flags.max_makespan), ("max_period", flags.max_period)):
        if given is not None and flags.objective not in objectives_with(limit):
            raise UsageFault(f"{flag_of(limit)} goes with --objective {_with(limit)}")


def _baseline_names(text: str, beat: str | None) -> tuple[str, ...]:
    """The baselines to compare with, in the order in which they are reported; the one to beat is among them."""
    wanted = baselines_named(text)
    if beat is not None:
        known_baseline(beat, "--beat")
    return tuple(name for name in BASELINES if wanted is None or name in wanted or name == beat)


def _check_layout(layout: str, copies: int, chunks: int | None) -> None:
    try:
        check_layout(layout, copies, chunks)
    except ValueError as error:
        raise UsageFault(f"--{error}") from error


def _missed(plan: Plan, max_bubble: float | None, beat: str | None, quiet: bool) -> bool:
    """Whether the plan misses a threshold; says on stderr which and by how much."""
    found = thresholds(plan, max_bubble, beat)
    for each in found:
        if each.words:
            note(each.words, quiet and each.met)
    return not all(each.met for each in found)

"""``planner sweep``: many solves of one graph and cluster, over a grid of flags."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from planner.commands import flags as shared
from planner.commands.app import Terminated
from planner.commands.common import ExitCode, emit, note, report_style
from planner.commands.declared import command as declared_command
from planner.commands.executors import Dask, check_executor, executor_of
from planner.commands.grid import Grid, places
from planner.commands.inputs import note_unknown_devices, problem_from
from planner.commands.running import ProgressLine
from planner.commands.solve import SolveFlags, options_read, search_options
from planner.engine import Engine, Limits, Outcome, Store
from planner.engine.progress import Pace
from planner.files import read_cluster, read_graph
from planner.files.errors import InputError, shown
from planner.files.flag_values import UsageFault
from planner.problem import Cluster, Graph, Impossible
from planner.sweeping import Point, Row, Sweep
from planner.sweeping.running import write
from planner.sweeping.share import exit_code

RESULTS = "results"
"""The folder of the store, below that of the sweep."""


@dataclass(frozen=True)
class SweepFlags:
    """Options of ``planner sweep`` besides those of ``planner solve``."""

    graph: shared.GraphFile
    cluster: shared.ClusterFile
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Where table, pictures and plans go, and results are kept."),
    ]
    processes: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Solves side by side on this machine.  [default: cores / threads]"),
    ] = None
    dask: Dask = None
    memory_limit: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Memory of the process of a solve; one that takes more gets a reason."),
    ] = None
    format: shared.OutputFormat = shared.Format.text
    quiet: shared.Quiet = False


def command(name: str, help: str) -> Any:
    """The command: its own options, and a list for each of solve that takes a value."""
    return declared_command(name, help, run, SweepFlags, Grid)


def run(flags: SweepFlags, grid: Any) -> int:
    """Solve the points, write the table, the plans and the pictures; the exit code is that of the best point."""
    memory = None if flags.memory_limit is None else shared.memory_size("--memory-limit", flags.memory_limit)
    if memory is not None and memory <= 0:
        raise UsageFault("--memory-limit must be above 0")
    check_executor(flags.processes, flags.dask)
    if str(flags.graph) == str(flags.cluster) == "-":
        raise UsageFault("graph and cluster cannot both come from stdin: name a file for one of them")
    if flags.output.exists() and not flags.output.is_dir():
        raise UsageFault(f"-o {shown(str(flags.output))} is a file: name a folder")
    solves = places(grid, str(flags.graph), str(flags.cluster), flags.quiet)
    each = [options_read(every) for every in solves]
    graph, cluster = read_graph(flags.graph), read_cluster(flags.cluster)
    points = [_point(every, graph, cluster, *read) for every, read in zip(solves, each, strict=True)]
    note_unknown_devices(graph, cluster)
    threads = max(every.threads or 1 for every in solves)
    executor = executor_of(flags.processes, flags.dask, threads)
    try:
        store = Store(flags.output / RESULTS)
    except InputError:
        executor.stop()
        raise
    sweep = Sweep(points)
    found, rows = _solved(sweep, Engine(executor, store, Limits(threads, memory)), flags)
    if flags.format is shared.Format.json:
        emit(found)
    else:
        from planner.sweeping.text import sweep_line, sweep_text

        emit(sweep_line(rows) if flags.quiet else sweep_text(rows, *report_style()))
    return _code(sweep, rows, flags.quiet)


def _point(flags: SolveFlags, graph: Graph, cluster: Cluster, read: dict[str, Any], max_bubble: float | None) -> Point:
    """The point of one solve. Raises ``ProblemError`` and ``UsageFault``; a proof that there is no plan is a reason."""
    try:
        more = {"copies": flags.copies, "layout": flags.layout, "variants": read.get("variants")}
        problem = problem_from(graph, cluster, flags, **more)
    except Impossible as error:
        plain = {name: None if value == math.inf else value for name, value in read.items()}
        return Point(plain, None, None, str(error), max_bubble, flags.beat)
    options = search_options(problem, read)
    return Point(options.flags, problem, options, "", max_bubble, flags.beat)


def _solved(sweep: Sweep, engine: Engine, flags: SweepFlags) -> tuple[str, list[Row]]:
    """Solve and write; after Ctrl-C or SIGTERM what is known by then. Returns sweep.json and the rows."""
    line = ProgressLine() if ProgressLine.wanted(flags.quiet) else None
    try:
        with engine:
            sweep.solve(engine, _listener(line, sweep.todo, engine.workers, "points"))
            rows = sweep.rows()
            if line is not None:
                line.say("writing plans and their pages")
            found = write(flags.output, rows, engine, False, _listener(line, len(rows), engine.workers, "pages"))
    except (KeyboardInterrupt, Terminated):
        if line is not None:
            line.clear()
        rows = sweep.rows()
        reached = sum(row.reached for row in rows)
        found = write(flags.output, rows, None, interrupted=True)
        note(f"interrupted: {reached} of {len(rows)} points are done; the same command goes on from there")
    else:
        if line is not None:
            line.clear()
        note(f"written to {flags.output}", flags.quiet)
    return found, rows


def _listener(line: ProgressLine | None, total: int, workers: int, noun: str) -> Callable[[Outcome | None, int], None]:
    """Draws the line of progress with the time left."""
    pace = Pace(total, workers)

    def listen(outcome: Outcome | None, count: int) -> None:
        pace.total = count
        if outcome is not None:
            pace.add(outcome)
        if line is not None:
            line.say(pace.words(noun, "" if outcome is None else outcome.work.label))

    return listen


def _code(sweep: Sweep, rows: Sequence[Row], quiet: bool) -> int:
    """0, 3 or 4 as of solve, over all points; 5 where thresholds are set and no point meets them."""
    reached = [row for row in rows if row.reached]
    code = exit_code(sweep.solved if len(reached) == len(rows) else [*sweep.solved, None])
    if code:
        words = {row.reason for row in reached if row.reason}
        first = next((row.reason for row in reached if row.reason), "interrupted before any point was solved")
        note(f"no point has a plan: {first}" + (f" (and {len(words) - 1} other reasons)" if len(words) > 1 else ""))
        return code
    if any(row.met is not None for row in rows) and not any(row.met for row in rows):
        note("threshold not met: by no point", quiet=False)
        return ExitCode.THRESHOLD
    return ExitCode.DONE

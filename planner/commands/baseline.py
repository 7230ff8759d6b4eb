"""``planner baseline``: the plan of a baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import typer

from planner.baselines import BASELINES, SCHEDULES, NotApplicable
from planner.commands import flags as options
from planner.commands.common import ExitCode, note
from planner.commands.deliver import deliver
from planner.commands.inputs import check_output, problem_of
from planner.commands.names import known_baseline
from planner.files.errors import listed
from planner.files.flag_values import UsageFault
from planner.objectives.baseline import baseline_plan
from planner.report.facts import PlanFacts
from planner.report.words import apart, size
from planner.runtimes.names import ANY


def _names() -> list[str]:
    return list(BASELINES)


@dataclass(frozen=True)
class BaselineFlags:
    """Options of ``planner baseline``."""

    name: Annotated[str, typer.Argument(metavar="NAME", help="gpipe, 1f1b, zb1p, dualpipe, ...", autocompletion=_names)]
    graph: options.GraphFile
    cluster: options.ClusterFile
    output: options.Output = None
    microbatches: options.Microbatches = None
    chunks: options.Chunks = None
    memory_cap: options.MemoryCap = None
    variant: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The variant of all operators that have it; base: none.  [default: the best choice that fits]",
        ),
    ] = None
    runtime: options.Runtime = ANY
    compact: options.Compact = False
    format: options.OutputFormat = options.Format.text
    quiet: options.Quiet = False


def run(flags: BaselineFlags) -> int:
    """Replay the baseline on the inputs, and deliver its plan."""
    name = flags.name
    known_baseline(name, "baseline")
    if flags.chunks is not None and flags.chunks > 1 and SCHEDULES[name].chunks == 1:
        chunked = listed(n for n in BASELINES if SCHEDULES[n].chunks > 1) or "none"
        raise UsageFault(f"{name} puts one chunk on a device: leave out --chunks (baselines that take it: {chunked})")
    check_output(flags.output, flags.graph, flags.cluster)
    problem = problem_of(flags)
    try:
        plan = baseline_plan(name, problem, flags.variant, flags.runtime)
    except NotApplicable as reason:
        note(f"{name} does not apply: {reason}")
        return ExitCode.INFEASIBLE
    code = deliver(plan, flags, problem)
    over = PlanFacts(plan).over_cap
    if over:
        worst = max(over, key=lambda device: device.peak_memory - (device.memory or 0.0))
        needs, cap = apart(size, worst.peak_memory, worst.memory, 4)
        count = f" (over the cap on {len(over)} devices)" if len(over) > 1 else ""
        most = math.ceil(max(device.peak_memory for device in over))
        # A plan that cannot run is no success, so that this is said under --quiet too.
        note(
            f"{name} does not fit in memory: {worst.name} needs {needs}, its cap is {cap}{count}; it fits with "
            f"--memory-cap {most}"
        )
    return code

"""``planner stretch``: a plan for more microbatches from its steady-state pattern, without a search."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from planner.bounds import placement_bound, problem_bound
from planner.commands import flags as options
from planner.commands.common import ExitCode, not_an_input, note
from planner.commands.deliver import deliver
from planner.commands.inputs import check_output
from planner.commands.problem_of_plan import cap_option, variants_option, whole_option
from planner.common.budget import Control
from planner.common.tolerance import GAP
from planner.files import InputError, read_cluster, read_graph
from planner.files.errors import shown
from planner.files.flag_values import UsageFault
from planner.files.graph_file import MAX_MICROBATCHES
from planner.files.plan_file import plan_error, read_plan
from planner.objectives.certified import InvalidPlan, verified
from planner.placement.layouts import LAYOUTS, only_placement
from planner.plan.build import build_plan, timetable_of
from planner.plan.plan import Plan, PlanWindow
from planner.problem import Problem
from planner.scheduling.classes import build_classes
from planner.scheduling.repetition import Repetition, fits_in_full, repeat_pattern
from planner.scheduling.retime import retime
from planner.scheduling.steady_state import (
    Pattern,
    classes_and_starts,
    copies_at_work,
    is_pattern,
    pattern_of,
    stretched,
)
from planner.scheduling.steady_state import tolerance as tolerance_of
from planner.search import Candidate, Incumbent
from planner.timetable.timetable import Timetable
from planner.verification import verify_plan


@dataclass(frozen=True)
class StretchFlags:
    """Options of ``planner stretch``."""

    plan: options.PlanFile
    graph: options.PlanGraph
    cluster: options.PlanCluster
    microbatches: Annotated[int, typer.Option(min=1, metavar="N", help="Microbatches of the new plan.")]
    output: options.Output = None
    compact: options.Compact = False
    format: options.OutputFormat = options.Format.text
    quiet: options.Quiet = False


def run(flags: StretchFlags) -> int:
    """Repeat the steady-state pattern of the plan, and deliver the plan that results."""
    path, microbatches = flags.plan, flags.microbatches
    not_an_input(flags.output, {"plan": path})
    check_output(flags.output, flags.graph, flags.cluster)
    control = Control()
    plan = read_plan(path)
    problem = _problem(path, plan, flags)
    listed = problem.with_microbatches(plan.listed_microbatches)
    timetable = timetable_of(plan, listed)
    window = plan.window
    if plan.repeated is not None:
        window = PlanWindow(plan.repeated.start, plan.repeated.length, plan.repeated.microbatches)
    elif window is None:
        window = pattern_of(listed, timetable)
    if window is None:
        note(_no_pattern(path, plan, microbatches))
        return ExitCode.NO_PLAN
    times = _times(path, plan, window, microbatches)
    found = _Stretch(path, plan, listed, timetable, window, problem.with_microbatches(microbatches), times)
    return deliver(found.plan(control), flags)


def _no_pattern(path: Path, plan: Plan, microbatches: int) -> str:
    """What to do about a plan that cannot be stretched."""
    lacks = f"{path} has no steady-state pattern: no part of its schedule can be repeated"
    if plan.origin != "solve":
        name = shown(plan.origin.removeprefix("baseline:")).strip("'")
        return f"{lacks}; planner baseline {name} --microbatches {microbatches} makes the longer plan"
    return (
        f"{lacks}; planner solve --microbatches {microbatches} plans anew, and a plan that is to be stretched takes "
        f"more than {plan.microbatches} microbatches, or --objective period"
    )


def _problem(path: Path, plan: Plan, flags: StretchFlags) -> Problem:
    """The problem of the plan under its own options. Raises ``InputError`` if the plan is not valid for it."""
    graph, cluster = read_graph(flags.graph), read_cluster(flags.cluster)
    copies, cap = whole_option(path, plan, "copies") or 1, cap_option(path, plan)
    layout: Any = plan.options.get("layout") or "auto"
    if layout not in ("auto", *LAYOUTS):
        raise plan_error(
            path, ["options", "layout"], f"{shown(layout)} is no layout: there are {', '.join(('auto', *LAYOUTS))}"
        )
    variants = variants_option(path, plan)
    violations = verify_plan(
        plan,
        graph,
        cluster,
        copies=copies,
        memory_cap=cap,
        microbatches=whole_option(path, plan, "microbatches") or graph.microbatches,
        variants=variants,
    )
    if violations:
        more = f" (and {len(violations) - 1} more; planner verify lists them)" if len(violations) > 1 else ""
        raise InputError(path, None, None, f"is no valid plan of this graph and cluster: {violations[0]}{more}")
    chunks = whole_option(path, plan, "chunks")
    return Problem(graph, cluster, plan.microbatches, copies, cap, layout, chunks, variants=variants)


def _times(path: Path, plan: Plan, window: PlanWindow, microbatches: int) -> int:
    """How often the pattern must be repeated for so many microbatches."""
    if microbatches > MAX_MICROBATCHES:
        raise UsageFault(f"--microbatches must be at most {MAX_MICROBATCHES}")
    has, each = plan.listed_microbatches, window.microbatches
    more = microbatches - has
    holds = f"{path} has {has}" if plan.repeated is None else f"{path} lists {has}"
    if more < 0:
        raise UsageFault(f"--microbatches {microbatches}: {holds}, and is not cut short")
    if more % each:
        below = microbatches - more % each
        raise UsageFault(
            f"--microbatches {microbatches} cannot be reached: {holds}, and each repetition of its pattern adds "
            f"{each}; the nearest are {below} and {below + each}"
        )
    return more // each


@dataclass(frozen=True)
class _Stretch:
    """A plan, and how often its pattern is repeated for the ``longer`` problem. ``listed``: that of its tasks."""

    path: Path
    origin: Plan
    listed: Problem
    timetable: Timetable
    window: PlanWindow
    longer: Problem
    times: int

    def plan(self, control: Control) -> Plan:
        """The plan of the longer step, with the bounds that need no search."""
        classes, start = classes_and_starts(self.listed, self.timetable)
        copies = copies_at_work(classes)
        again = Pattern(self.window.start, self.window.length, self.window.microbatches // copies)
        if self.window.microbatches % copies or not is_pattern(classes, start, again, 1.0):
            raise plan_error(self.path, ["window"], "cannot be repeated; with null instead, stretch looks for one")
        if not fits_in_full(self.longer):
            repetition = repeat_pattern(self.longer, self.listed, self.timetable, again)
            if repetition is not None:
                return self._made(control, repetition.timetable, repetition)
        counts = tuple(count and count + self.times * again.each for count in classes.counts)
        many = build_classes(self.longer, self.timetable.placement, counts)
        starts = stretched(start, again, self.times, tolerance_of(start))
        # Starts are as early as the order allows, except where the order does not show the reason to wait: a baseline
        # has rules of its own, and earlier starts may take more memory.
        as_it_is = self.origin.origin != "solve" or self.origin.objective != "makespan"
        earlier = None if as_it_is else retime(many, starts)
        return self._made(control, many.timetable(starts if earlier is None else earlier), None)

    def _made(self, control: Control, timetable: Timetable, repetition: Repetition | None) -> Plan:
        plan, problem = self.origin, self.longer
        asked: Any = plan.options.get("gap")
        gap = float(asked) if isinstance(asked, int | float) and not isinstance(asked, bool) else GAP
        incumbent = Incumbent(problem, control, gap, lambda _: None)
        incumbent.prove(problem_bound, "bounds")
        only = only_placement(problem)
        if only is not None:
            incumbent.prove(lambda posed, _: placement_bound(posed, only), "bounds")
        makespan = timetable.makespan(problem) if repetition is None else repetition.makespan
        incumbent.best = Candidate(timetable, makespan, "stretching")
        made = build_plan(
            problem if repetition is None else self.listed,
            timetable,
            origin=plan.origin,
            status="optimal" if incumbent.proven and plan.objective == "makespan" else "feasible",
            lower_bound=incumbent.bound,
            placement_lower_bound=incumbent.bound_of(timetable.placement),
            options=_options(plan, problem.microbatches),
            solve_seconds=round(control.elapsed, 3),
            notes=(f"stretched from {plan.microbatches} microbatches", *plan.notes),
            objective=plan.objective,
            window=pattern_of(problem, timetable) if repetition is None else None,
            repeated=None if repetition is None else repetition.part,
            whole=None if repetition is None else repetition.figures(),
        )
        try:
            return verified(made, problem)
        except InvalidPlan as error:  # the fault is in the file: its window, or options that are not those of the plan
            raise InputError(self.path, None, None, f"cannot be stretched: {error}") from error


def _options(plan: Plan, microbatches: int) -> dict[str, Any]:
    """The plan's options, without those that do not hold for another number of microbatches."""
    of_its_own: dict[str, Any] = {"max_makespan": None, "baselines": []}
    return {**plan.options, **{k: v for k, v in of_its_own.items() if k in plan.options}, "microbatches": microbatches}

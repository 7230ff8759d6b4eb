"""The shortest step that a runtime can run, with a bound for its plans, beside what no runtime limits."""

from __future__ import annotations

import math

from planner.baselines.choices import choice_of
from planner.baselines.replayed import baseline_figures, baseline_timetables
from planner.common.tolerance import SAME
from planner.objectives.baseline import NO_STEADY_STATE, baseline_repetition
from planner.objectives.options import NoPlan
from planner.objectives.solving import Solving
from planner.placement.fit import show_bytes
from planner.plan.plan import BaselineFigures, Plan, Unrestricted
from planner.problem import Impossible
from planner.runtimes.registry import RUNTIMES
from planner.runtimes.runtime import Runtime
from planner.runtimes.whole_passes import runtime_bound
from planner.search import search
from planner.search.as_run import RuntimeSearch
from planner.search.steps.placements import any_that_fits
from planner.search.ways import Ran, Way, without_pipeline

SHARE = 0.5
"""Of the time, for the plans of the runtime; the rest is for what no runtime limits."""


PROOF = 0.4
"""Part of the time that is left for the bound of orders; the rest is for that of all wholes and of any plan."""


def plan_as_run(solving: Solving) -> Plan:
    """The best plan of the runtime that the options name, verified.

    Raises ``Impossible`` where the runtime has no plan of such a kind or nothing fits in memory in any way, and
    ``NoPlan`` where none was found that fits.
    """
    runtime, control = RUNTIMES[solving.options.runtime], solving.control
    why = without_pipeline(runtime, solving.problem)
    if why is not None:
        raise Impossible(why)
    incumbent = solving.incumbent(control.part(SHARE))
    found = RuntimeSearch(solving.problem, runtime, incumbent)
    solving.compared = tuple(_compared(name, found, solving) for name in solving.options.baselines)
    best = found.run()
    if incumbent.best is None:
        next(any_that_fits(found.cut, None, control), None)  # or the proof of none
        raise NoPlan(_why(runtime, best, found.reasons))
    incumbent.publish_best()
    incumbent.control = control.rest(SHARE)  # the first part may be over, and linear programs would give nothing
    _prove(found)
    solving.baselines = baseline_timetables(solving.problem, control)
    free = solving.incumbent(control)
    free.publish = lambda _: None  # what may not run is no plan to fall back on
    free.offer(incumbent.best.timetable, incumbent.best.how)
    search(solving.state(free))
    assert free.best is not None
    incumbent.raise_bound(free.bound, "bound of all plans")
    unrestricted = Unrestricted(free.posed_seconds(free.best.makespan), free.posed_bound)
    return solving.plan(incumbent.best, incumbent, unrestricted=unrestricted, notes=_notes(runtime, found.reasons))


def plan_of_way(solving: Solving, way: Way, bound: float) -> Plan:
    """The verified plan of one way to run the schedules of the runtime that the options name.

    ``bound``: seconds that are known to be proven for all its plans. Raises ``NoPlan`` where the way does not fit.
    """
    runtime = RUNTIMES[solving.options.runtime]
    incumbent = solving.incumbent(solving.control)
    found = RuntimeSearch(solving.problem, runtime, incumbent)
    ran = found.ran(way)
    if ran is None or incumbent.best is None:
        raise NoPlan(_why(runtime, ran, found.reasons))
    incumbent.raise_bound(bound, "bound of the orders")
    return solving.plan(incumbent.best, incumbent, notes=_notes(runtime, []))


def _prove(found: RuntimeSearch) -> None:
    """Raise the incumbent's bound to that of the runtime's plans."""
    incumbent, runtime = found.incumbent, found.runtime
    enough = math.inf if incumbent.best is None else incumbent.best.makespan
    control = incumbent.control
    incumbent.control = control.rest(PROOF)
    bound = found.bound(enough)
    incumbent.control = control
    incumbent.raise_bound(bound, f"bound of the orders that {runtime.name} runs")
    if incumbent.best is None or incumbent.bound < incumbent.best.makespan * (1 - SAME):
        incumbent.prove(lambda problem, control: runtime_bound(problem, runtime, control), f"bound for {runtime.name}")


def _notes(runtime: Runtime, reasons: list[str]) -> list[str]:
    notes = [f"{runtime.title} runs it with: {runtime.launch}"]
    if runtime.left_out:
        notes.append(f"{runtime.title} also has, and this does not count: {runtime.left_out}")
    return [*notes, *(f"not tried: {reason}" for reason in dict.fromkeys(reasons))]


def _compared(name: str, found: RuntimeSearch, solving: Solving) -> BaselineFigures:
    """The row of a baseline as the runtime runs it, with balanced stages and its best uniform choice."""
    runtime = found.runtime
    if name not in runtime.schedules:
        return BaselineFigures(name, reason=f"{runtime.title} does not run it")
    ran = found.baseline(name)
    if ran is None:
        reason = found.reasons[-1] if found.reasons else "no contiguous stages"
        return BaselineFigures(name, reason=f"as {runtime.title} runs it: {reason}")
    problem, variant = solving.problem, choice_of(solving.problem, ran.timetable.placement)
    if solving.shortened is None:
        return baseline_figures(name, ran.figures, ran.timetable, variant)
    repetition = baseline_repetition(solving.shortened.whole, problem, ran.timetable)
    if repetition is None:
        return BaselineFigures(name, reason=NO_STEADY_STATE)
    return baseline_figures(name, repetition.figures(), ran.timetable, variant)


def _why(runtime: Runtime, best: Ran | None, reasons: list[str]) -> str:
    """Why there is no plan: what was tried, and what the best lacks."""
    if best is None:
        tried = "; ".join(dict.fromkeys(reasons)) or "no stages that it can place"
        return f"{runtime.title} has no schedule for this: {tried}"
    lacking = max(best.figures.devices, key=lambda d: d.peak_memory - (d.memory or d.peak_memory))
    return (
        f"no order of {runtime.title} fits in memory: the nearest, {best.way.told}, needs "
        f"{show_bytes(lacking.peak_memory)} on {lacking.name}, whose cap is {show_bytes(lacking.memory or 0.0)}"
    )

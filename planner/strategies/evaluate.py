"""One strategy, looked at closely: its bound, its best plan, what that takes. Runs where the engine does the work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from planner.baselines import SCHEDULES
from planner.bounds import problem_bound
from planner.common.budget import Control
from planner.engine import Limits, stop_event
from planner.importers.huggingface.config import Unfit
from planner.objectives.options import NoPlan, SolveOptions
from planner.objectives.registry import solve
from planner.placement.versions import different_choices
from planner.plan.plan import Plan, plan_to_json
from planner.plan.throughput import throughput_of
from planner.problem import BASE, Impossible, Problem, ProblemError
from planner.runtimes.cuts import cut_for
from planner.runtimes.names import ANY
from planner.runtimes.order_bound import OrderBounds
from planner.runtimes.rank_bound import rank_bound
from planner.runtimes.runtime import Runtime
from planner.runtimes.stage_costs import StageCosts
from planner.runtimes.whole_passes import exposed, runtime_bound
from planner.search.as_run import RuntimeSearch
from planner.search.incumbent import Incumbent
from planner.search.ways import Ran, Way
from planner.strategies.made import ROUNDING, cap_of, graphs_of, inputs_of, problem_of, short_problem_of
from planner.strategies.quick import quick
from planner.strategies.request import Request
from planner.strategies.space import Candidate, weight_grad

OUT_OF_MEMORY = "out of memory"
SOLVED = "solved"
BOUNDED = "bounded"
INVALID = "invalid"
"""States of what has been looked at: no plan fits, a plan is known, only a bound is known, there is no such plan."""


FRACTIONS_ENOUGH = 0.0
"""Seconds that every bound reaches: that of fractions of layers is not looked at closer."""


class Look(StrEnum):
    """What a close look is for: a plan soon, a closer bound over the orders of the runtime, the best plan."""

    SOON = "soon"
    ORDERS = "orders"
    LONG = "long"


@dataclass(frozen=True)
class QuickWork:
    """The quick bounds of many candidates; ``closely``: with what steps are likely where something is recomputed."""

    request: Request
    candidates: tuple[Candidate, ...]
    closely: bool

    @property
    def key(self) -> Mapping[str, object]:
        """The question and the candidates."""
        those = [candidate.key for candidate in self.candidates]
        return {"what": "quick", "request": self.request.key, "candidates": those, "closely": self.closely}

    @property
    def label(self) -> str:
        """How many."""
        return f"quick bounds of {len(self.candidates)} strategies"

    def run(self, limits: Limits) -> dict[str, Any]:
        """``seconds``, ``bytes`` and ``likely`` of each."""
        graphs, runtime, cap = graphs_of(self.request), self.request.runs, cap_of(self.request)
        found = [quick(candidate, graphs, runtime, cap, self.closely) for candidate in self.candidates]
        return {key: [getattr(each, key) for each in found] for key in ("seconds", "bytes", "likely")}


@dataclass(frozen=True)
class BoundWork:
    """The bounds of candidates over all plans, whatever the order."""

    request: Request
    candidates: tuple[Candidate, ...]
    enough: float  # seconds: the best step known; a bound above it is as good as any
    seconds: float  # limit

    @property
    def key(self) -> Mapping[str, object]:
        """The question and the candidates; ``enough`` says whether whole numbers of layers are looked at."""
        those = [candidate.key for candidate in self.candidates]
        return {"what": "bound", "request": self.request.key, "candidates": those, "enough": self.enough}

    @property
    def label(self) -> str:
        """How many."""
        return f"bounds of {len(self.candidates)} strategies"

    def run(self, limits: Limits) -> dict[str, Any]:
        """``found``: ``state``, ``lower_bound`` and ``reason`` of each."""
        control = Control(self.seconds, stop_requested=stop_event())
        return {"found": [self._of(candidate, control) for candidate in self.candidates]}

    def _of(self, candidate: Candidate, control: Control) -> dict[str, Any]:
        runtime = self.request.runs
        try:
            if _has_order_for_all(runtime):
                bound = _of_few_layers(self.request, candidate, control, self.enough)
                if bound is not None:
                    return _bounded(bound, runtime)
            problem = problem_of(self.request, candidate)
        except Impossible as reason:
            return _out(str(reason))
        except (Unfit, ProblemError) as reason:
            return _unknown(str(reason))
        if runtime.is_any:
            bound = problem_bound(problem, control)
        else:
            found = searched(problem, runtime, control)
            if not found.orders:
                return _no_order(found)
            bound = _of_any_order(found, problem, control, self.enough)
        return _bounded(bound, runtime)


def _has_order_for_all(runtime: Runtime) -> bool:
    """Whether one of a runtime's schedules applies to any number of stages and microbatches."""
    return not runtime.is_any and any(SCHEDULES[name].family == "linear" for name in runtime.schedules)


def _of_few_layers(request: Request, candidate: Candidate, control: Control, enough: float) -> float | None:
    """The same bound as of the whole problem, from one of few layers; None where that does not have all its costs."""
    problem, times = short_problem_of(request, candidate)
    cut = cut_for(problem, request.runs)
    costs = StageCosts(problem, request.runs, cut.segments.joined)
    bounds = OrderBounds(cut, request.runs, costs, different_choices(problem), times)
    try:
        return rank_bound(bounds, request.runs.schedules, control, enough)
    except ValueError:
        return None


def _bounded(bound: float, runtime: Runtime) -> dict[str, Any]:
    if math.isinf(bound):
        return _out(f"no plan that {runtime.name} runs fits in memory, whatever is recomputed")
    return {"state": BOUNDED, "lower_bound": bound * (1 - ROUNDING), "reason": ""}


def _of_any_order(found: RuntimeSearch, problem: Problem, control: Control, enough: float) -> float:
    bounds = OrderBounds(found.cut, found.runtime, found.stage_costs, different_choices(problem))
    return rank_bound(bounds, found.runtime.schedules, control, enough)


def _out(reason: str) -> dict[str, Any]:
    """It is proven that no plan fits."""
    return {"state": OUT_OF_MEMORY, "lower_bound": None, "reason": reason}


def _unknown(reason: str) -> dict[str, Any]:
    """Nothing is proven, such as of a step with too many tasks: what is known already stays the bound."""
    return {"state": BOUNDED, "lower_bound": 0.0, "reason": reason}


def _no_order(found: RuntimeSearch) -> dict[str, Any]:
    """The runtime has no schedule for so many stages."""
    return {"state": INVALID, "lower_bound": None, "reason": "; ".join(dict.fromkeys(found.reasons))}


@dataclass(frozen=True)
class SolveWork:
    """A close look at a candidate, for some seconds: its best plan, or a closer bound."""

    request: Request
    candidate: Candidate
    enough: float
    seconds: float
    look: Look

    @property
    def key(self) -> Mapping[str, object]:
        """The question, the candidate, and how it is looked at."""
        which = {"look": self.look.value, "seconds": self.seconds}
        return {"what": "solve", "request": self.request.key, "candidate": self.candidate.key, **which}

    @property
    def label(self) -> str:
        """The candidate's name."""
        return self.candidate.name

    def run(self, limits: Limits) -> dict[str, Any]:
        """``state``, ``lower_bound``, and the figures of the plan; ``cut_off``: whether there was time for no more."""
        control = Control(self.seconds, stop_requested=stop_event())
        try:
            if self.request.runs.is_any:
                return self._any(inputs_of(self.request, self.candidate).problem(), control, limits.threads)
            return self._as_run(problem_of(self.request, self.candidate), control)
        except Impossible as reason:
            return _out(str(reason))
        except (Unfit, ProblemError) as reason:
            return _unknown(str(reason))

    def _as_run(self, problem: Problem, control: Control) -> dict[str, Any]:
        """As the runtime runs it. What fits in no way is found before a plan is looked for."""
        runtime = self.request.runs
        found = searched(problem, runtime, control)
        if not found.orders:
            return _no_order(found)
        bound, best = 0.0, None
        if self.look is Look.SOON:
            bound = _of_any_order(found, problem, control, FRACTIONS_ENOUGH)
            best = None if math.isinf(bound) else found.first()
        elif self.look is Look.ORDERS:
            bound = found.bound(self.enough) or runtime_bound(problem, runtime, control)
        else:
            best = found.run()
        if math.isinf(bound):
            return _out(f"no plan that {runtime.name} runs fits in memory, whatever is recomputed")
        document: dict[str, Any] = {"state": BOUNDED, "lower_bound": bound * (1 - ROUNDING), "reason": ""}
        document["cut_off"] = control.over
        if best is not None and best.figures.fits:
            return document | _figures_of(problem, runtime, best)
        if best is not None:
            document["reason"] = "no plan was found that fits in memory"
        elif self.look is not Look.ORDERS:
            document["reason"] = "; ".join(dict.fromkeys(found.reasons)) or "no stages that the runtime can place"
        return document

    def _any(self, problem: Problem, control: Control, threads: int) -> dict[str, Any]:
        options = options_of(problem, self.request, self.seconds, threads)
        try:
            plan = solve(problem, control, options)
        except NoPlan as reason:
            bound = problem_bound(problem, control)
            return {"state": BOUNDED, "lower_bound": bound * (1 - ROUNDING), "reason": str(reason)}
        text = plan_to_json(plan, compact=True)  # found once, and not searched again
        figures = figures_of_plan(plan, problem) | {"plan": text}
        return {"state": SOLVED, "lower_bound": plan.lower_bound, "reason": "", **figures}


def searched(problem: Problem, runtime: Runtime, control: Control) -> RuntimeSearch:
    """The search for plans of a runtime, with its bounds."""
    return RuntimeSearch(problem, runtime, Incumbent(problem, control, 0.0, lambda _: None))


def options_of(problem: Problem, request: Request, seconds: float, threads: int, runtime: str = ANY) -> SolveOptions:
    """What a search for one plan is given."""
    return SolveOptions.of(
        problem,
        time_limit=seconds,
        effort=None,
        gap=1e-6,
        seed=request.seed,
        threads=threads,
        baselines=(),
        objective="makespan",
        runtime=runtime,
    )


def _figures_of(problem: Problem, runtime: Runtime, best: Ran) -> dict[str, Any]:
    figures, way = best.figures, best.way
    some = sum(way.first)
    whole = some == sum(map(len, way.stages))
    return {
        "state": SOLVED,
        "seconds": figures.makespan,
        "peak_bytes": figures.peak_memory,
        "bubble_ratio": figures.bubble_ratio,
        "exposed_seconds": _exposed(problem, runtime, best),
        "schedule": way.schedule,
        "vpp": way.chunks,
        "recompute": "none" if way.name == BASE or not some else way.name if whole else f"{way.name} in part",
        "how": way.told,
        "way": [way.schedule, way.chunks, [list(stage) for stage in way.stages], way.name, list(way.first)],
    }


def way_in(result: Mapping[str, Any]) -> Way | None:
    """The way in a result of ``SolveWork``; None where a plan of the device model was found."""
    if result.get("way") is None:
        return None
    schedule, chunks, stages, name, first = result["way"]
    return Way(schedule, chunks, tuple(tuple(stage) for stage in stages), name, tuple(first))


def _exposed(problem: Problem, runtime: Runtime, best: Ran) -> float:
    """Seconds of the step in which the mean device computes nothing because of a collective."""
    counted = exposed(problem, runtime)
    seconds = problem.default.duration if problem.free == () else problem.relaxed.duration
    device_of = np.array(best.timetable.placement.device_of[0])
    own = seconds[np.arange(problem.n_operators), :, device_of].sum(axis=1)
    return float(own[counted].sum()) * problem.microbatches / problem.n_devices


def figures_of_plan(plan: Plan, problem: Problem) -> dict[str, Any]:
    """The figures of a row from a whole plan."""
    peak = max(device.peak_memory for device in plan.devices)
    chunks = max(1, round(len({(r.device, r.operator) for r in plan.placement}) / max(1, problem.n_operators)))
    variants = sorted({row.variant or BASE for row in plan.placement} - {BASE})
    return {
        "seconds": plan.makespan,
        "peak_bytes": peak,
        "bubble_ratio": plan.bubble_ratio,
        "exposed_seconds": None,
        "schedule": "best",
        "vpp": chunks,
        "recompute": " and ".join(variants) + " in part" if variants else "none",
        "how": plan.notes[0] if plan.notes else "",
    }


def throughput(request: Request, candidate: Candidate, seconds: float) -> tuple[float, float | None]:
    """Tokens a second and GPU, and MFU where the peak of the GPUs is known."""
    graphs, runtime = graphs_of(request), request.runs
    document = graphs.document(candidate.strategy, weight_grad(runtime), runtime)
    stages = graphs.stages(candidate.strategy, candidate.order)
    found = throughput_of(document.origin, stages, candidate.strategy.microbatches, seconds)
    assert found is not None
    return found.tokens_per_second_per_gpu, found.mfu

"""The best plan that a runtime can run: its orders on its placements, every stage pass as the runtime runs it.

A plan of a runtime is a schedule, a number of stages on each device, the cuts between them and what is recomputed. All
combinations are looked at once, with stages balanced as the published schedules have them. The best are tuned: a layer
moves from one stage to another, between neighbours or from the device that works longest, as long as the step becomes
shorter, or the memory that is lacking less. What is tuned is a graph of whole stages, which replays fast; what is
offered has been replayed operator by operator.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import combinations, pairwise

import numpy as np

from planner.baselines import SCHEDULES, NotApplicable
from planner.baselines.choices import choice_named, posed
from planner.baselines.operators import Pipeline, replay_blocks
from planner.baselines.registry import Layout
from planner.baselines.row import Rows
from planner.common.budget import Control
from planner.common.tolerance import SAME
from planner.placement.kinds import Versions
from planner.placement.versions import different_choices, uniform_choices
from planner.problem import BASE, Placement, Problem
from planner.problem.partition import partition
from planner.runtimes.cuts import cut_for, layer_of
from planner.runtimes.kinds import whole_layers
from planner.runtimes.order_bound import OrderBounds
from planner.runtimes.runtime import Recomputing, Runtime
from planner.runtimes.stage_costs import StageCosts
from planner.runtimes.whole_passes import exposed, with_transfers
from planner.search.incumbent import Incumbent
from planner.search.stage_replay import Quick, StageReplay
from planner.search.tuning import Tuning
from planner.search.ways import WORST, Order, Ran, Rank, Stages, Way, rank_of, without_pipeline
from planner.timetable.figures import Figures, figures
from planner.timetable.timetable import Timetable

TUNED = 8
"""Combinations that are tuned: the best of each schedule and number of stages."""

REPLAYED = 2
"""Tuned combinations that are replayed operator by operator."""

ENUMERATED = 200
"""Ways to cut into stages up to which all are looked at."""


class RuntimeSearch:
    """The search for the best plan of one runtime on one problem."""

    def __init__(self, problem: Problem, runtime: Runtime, incumbent: Incumbent) -> None:
        self.problem, self.runtime, self.incumbent = problem, runtime, incumbent
        self.cut = cut_for(problem, runtime)
        self.units = self.cut.segments.joined
        self.ranks = problem.n_devices if runtime.pipeline else 1
        self.known: dict[Way, Rank | None] = {}
        self.busiest: dict[Way, int] = {}
        self.stage_costs = StageCosts(problem, runtime, self.units)
        self.tuning = Tuning(self)
        self.quick = StageReplay(self.stage_costs, runtime)
        self.reasons: list[str] = []
        self.rows: dict[Order, Rows | None] = {}
        self.bounds: dict[tuple[Order, bool], float] = {}
        self.releases_inside = not problem.training and bool(np.isfinite(problem.cap).any())
        """Whether a stage pass releases memory of its first operators before it ends, and memory counts."""

    @cached_property
    def choices(self) -> dict[str, Versions]:
        """The versions of all operators, by the name of what is chosen everywhere."""
        return uniform_choices(self.problem)

    @cached_property
    def layers(self) -> list[bool]:
        """Whether each unit is a layer, of which a runtime may want equally many in every stage."""
        rules = self.problem.graph.made_from.rules if self.problem.graph.made_from else None
        names = [self.problem.operators[unit[0]].name for unit in self.units]
        return [layer_of(name, rules) is not None for name in names]

    @cached_property
    def counted(self) -> list[bool] | None:
        """Whether each unit is a layer that counts among the first of a stage; None where units are no layers."""
        return whole_layers(self._bounds.layer_names, self.units)

    def run(self) -> Ran | None:
        """The best way found, which is offered if it fits in memory; None where no schedule applies.

        Orders are looked at by their bounds, the least first; those that cannot be better are left out.
        """
        control = self.incumbent.control
        orders = sorted(self.orders, key=self.order_bound)  # equal ones in the runtime's own order
        fitting = [order for order in orders if math.isfinite(self.order_bound(order))] or orders
        some: dict[Way, Rank] = {}
        best = WORST
        for order in fitting:
            if not best[0] and self.order_bound(order) >= best[1] * (1 - SAME):
                break
            for way in self._of(*order):
                control.report(f"{way.told}, as {self.runtime.name} runs it")
                rank = self.rank(way)
                if rank is not None:
                    some[way] = rank
                    best = min(best, rank)
                if some and control.over:
                    break
            if some and control.over:
                break
        for order in fitting:
            if control.over or (not best[0] and self.order_bound(order) >= best[1] * (1 - SAME)):
                break
            for way in self._of_program(*order, math.inf if best[0] else best[1] * (1 - SAME)):
                control.report(f"{way.told}, stages of a program, as {self.runtime.name} runs it")
                rank = self.rank(way)
                if rank is not None:
                    some[way] = rank
                    best = min(best, rank)
        by_kind: dict[tuple[Order, str, bool], Way] = {}
        for way in sorted(some, key=some.__getitem__):
            by_kind.setdefault(((way.schedule, way.chunks), way.name, way.is_mixed), way)
        those = list(by_kind.values())[:TUNED]
        ran = [self._ran(way) for way in those[:1]]
        tuned = []
        for way in those:
            bound = self.order_bound((way.schedule, way.chunks))
            if control.over or (not best[0] and bound >= best[1] * (1 - SAME)):
                continue
            tuned.append(self.tuning.tuned(way))
            best = min(best, self.known[tuned[-1]] or WORST)
        ran += [self._ran(way) for way in sorted(tuned, key=lambda way: self.known[way] or WORST)[:REPLAYED]]
        return min((each for each in ran if each is not None), key=lambda each: each.rank, default=None)

    def first(self) -> Ran | None:
        """A way found soon: the best of few numbers of stages, cut evenly by time. It is no proof, and not tuned."""
        some: dict[Way, Rank] = {}
        for name in dict.fromkeys(name for name, _ in self.orders):
            chunks = [v for other, v in self.orders if other == name]
            for v in dict.fromkeys((chunks[-1], chunks[len(chunks) // 2], chunks[0])):
                for way in self._of(name, v):
                    if some and self.incumbent.control.over:
                        break
                    some[way] = self.rank(way) or WORST
        best = min(some, key=some.__getitem__, default=None)
        return None if best is None else self._ran(best)

    def ran(self, way: Way) -> Ran | None:
        """A way as it runs, operator by operator; offered, where it fits. None where it does not apply."""
        return self._ran(way)

    @cached_property
    def orders(self) -> tuple[Order, ...]:
        """The schedules that apply, each with its numbers of stages on a device."""
        return tuple(
            (name, chunks)
            for name in self.runtime.schedules
            if not self._rejected(name)
            for chunks in self._chunks(name)
        )

    @cached_property
    def _bounds(self) -> OrderBounds:
        return OrderBounds(self.cut, self.runtime, self.stage_costs, different_choices(self.problem))

    def order_bound(self, order: Order, enough: float = 0.0) -> float:
        """Seconds that no plan of an order beats; inf where none fits in memory, 0 where nothing is known.

        ``enough``: where the bound is not above it, paths through the order are looked at, too.
        """
        closer = enough > 0.0
        if (order, closer) not in self.bounds:
            known = self.bounds.get((order, False), 0.0)
            if known > enough > 0.0:
                return known
            control = self.incumbent.control
            try:
                found = self._bounds.of(*order, control, enough) if closer else self._bounds.quick(*order, control)
            except NotApplicable as reason:
                self.reasons.append(str(reason))
                found = math.inf
            self.bounds[order, closer] = max(known, found)
        return self.bounds[order, closer]

    def bound(self, enough: float = math.inf) -> float:
        """Seconds that no plan of any order beats; inf where it is proven that none fits in memory.

        ``enough``: the best makespan known. Orders whose bound is above it are not looked at closer.
        """
        return self._bounds.least(sorted(self.orders, key=self.order_bound), self.incumbent.control, enough)

    def baseline(self, name: str, variant: str | None = None) -> Ran | None:
        """A schedule as it is published, with balanced stages; None where it does not fit the problem.

        ``variant``: of all operators that have it; None: the best uniform choice.
        """
        if self._rejected(name):
            return None
        schedule, some = SCHEDULES[name], []
        chunks = self.problem.chunks or schedule.chunks if schedule.chunks > 1 else 1
        choices = different_choices(self.problem) if variant is None else {variant: choice_named(self.problem, variant)}
        for choice, versions in choices.items():
            stages = self._balanced(name, chunks, versions)
            if stages is not None:
                first = tuple(0 if choice == BASE else len(stage) for stage in stages)
                some.append(self._ran(Way(name, chunks, stages, choice, first)))
        return min((ran for ran in some if ran is not None), key=lambda ran: ran.rank, default=None)

    def published(self, name: str, chunks: int) -> Figures | None:
        """The figures of a schedule on the stages that the runtime makes unless it is told others.

        None where it does not fit the problem.
        """
        count, schedule = self.ranks * chunks, SCHEDULES[name]
        if self._rejected(name):
            return None
        versions = self.problem.first_versions
        if self.runtime.balanced or not any(self.layers) or count == 1:
            stages = self._balanced(name, chunks, versions) if count > 1 else (tuple(range(len(self.units))),)
        else:
            stages = self._even(count)
        if stages is None:
            return None
        way = Way(name, chunks, stages, BASE, (0,) * count)
        if schedule.fused:
            ran = self._ran(way)
            return None if ran is None else ran.figures
        return self._replayed_as_stages(way)

    # -- ways --------------------------------------------------------------------------------------------

    def _rejected(self, name: str) -> bool:
        """Whether flags or the mode of the graph exclude a schedule; the reason is kept."""
        schedule, problem = SCHEDULES[name], self.problem
        why = None
        if not problem.training and not schedule.forwards:
            why = "orders backward passes"
        elif schedule.family == "bidirectional" and problem.copies < 2:
            why = "has two copies: give --copies 2"
        elif schedule.even_ranks and self.ranks % 2:
            why = f"wants an even number of devices, not {self.ranks}"
        elif problem.layout not in ("auto", schedule.family):
            why = f"is not of --layout {problem.layout}"
        if why is not None:
            self.reasons.append(f"{schedule.title} {why}")
        return why is not None

    def _chunks(self, name: str) -> Sequence[int]:
        """The numbers of stages on a device that a schedule may have."""
        schedule = SCHEDULES[name]
        if schedule.chunks == 1:
            return (1,)
        if self.ranks == 1:  # nothing to interleave
            return ()
        most = min(self.runtime.chunks, len(self.cut.segments.loose) // self.ranks)
        if schedule.family != "interleaved":
            return (2,) if most >= 2 else ()
        if self.problem.microbatches % self.ranks:
            self.reasons.append(
                f"{schedule.title} wants microbatches that the {self.ranks} ranks divide, not "
                f"{self.problem.microbatches}"
            )
            return ()
        some = [v for v in range(2, most + 1) if self.problem.chunks in (None, v)]
        if not some and self.problem.chunks is not None:
            self.reasons.append(f"{schedule.title} of {self.problem.chunks} stages a device: there are at most {most}")
        return some

    def _of(self, name: str, chunks: int) -> Iterator[Way]:
        fits = False
        for choice, versions in different_choices(self.problem).items():
            stages = self._balanced(name, chunks, versions)
            if stages is None:
                continue
            whole = tuple(map(len, stages))
            way = Way(name, chunks, stages, choice, whole if choice != BASE else (0,) * len(stages))
            yield way
            yield from self._every_cut(way)
            if choice == BASE:
                fits = not (self.rank(way) or WORST)[0]
            if choice == BASE or fits or BASE not in self.choices:
                continue  # where it fits as it is, to recompute only costs time
            if self.runtime.recompute is Recomputing.FIRST_LAYERS:
                if self.runtime.may_mix(choice):
                    even = self._balanced(name, chunks, self.problem.default.first_versions)
                    yield from self._first_layers(name, chunks, choice, even)
            elif self.runtime.recompute in (Recomputing.STAGE, Recomputing.OPERATOR):
                yield from self._by_stage(name, chunks, choice)

    def _every_cut(self, way: Way) -> Iterator[Way]:
        """All cuts into stages, where they are few."""
        count, units = len(way.stages), len(self.units)
        if not self.runtime.uneven or math.comb(units - 1, count - 1) > ENUMERATED:
            return
        for cuts in combinations(range(1, units), count - 1):
            stages = tuple(tuple(range(a, b)) for a, b in pairwise((0, *cuts, units)))
            yield replace(way, stages=stages, first=self.tuning.first(way, stages))

    def _first_layers(self, name: str, chunks: int, choice: str, stages: Stages | None) -> Iterator[Way]:
        """The fewest first layers of every stage that make it fit, by bisection."""
        if stages is None or self.counted is None:
            return
        way = Way(name, chunks, stages, choice, (0,) * len(stages))
        low, high = 0, max(sum(self.counted[u] for u in stage) for stage in stages)
        while high - low > 1:  # with none it may not fit, with all it is as uniform
            middle = (low + high) // 2
            rank = self.rank(self.tuning.with_layers(way, middle))
            if rank is None:
                return
            low, high = (middle, high) if rank[0] else (low, middle)
        yield self.tuning.with_layers(way, high)

    def _of_program(self, name: str, chunks: int, below: float) -> Iterator[Way]:
        """Stages that the program of the order finds best, and what is recomputed in them."""
        if not self.runtime.uneven or not math.isfinite(below):
            return
        try:
            found = list(self._bounds.solutions(name, chunks, self.incumbent.control, below))
        except NotApplicable:
            return
        for mixture, solution in found:
            stages = tuple(tuple(range(a, b)) for a, b in pairwise(solution.cuts()))
            if not all(stages) or sum(map(len, stages)) != len(self.units):
                continue
            choice = mixture[-1]
            if len(mixture) == 1:
                yield Way(name, chunks, stages, choice, tuple(len(stage) * (choice != BASE) for stage in stages))
            elif self.runtime.recompute is Recomputing.FIRST_LAYERS:
                yield from self._first_layers(name, chunks, choice, stages)
            else:
                some = [
                    s for s, (n, size) in enumerate(zip(solution.changed, solution.sizes, strict=True)) if 2 * n >= size
                ]
                yield self._in_stages(name, chunks, stages, choice, some)

    def _by_stage(self, name: str, chunks: int, choice: str) -> Iterator[Way]:
        """The fewest stages of the first devices that make it fit, by bisection."""
        stages = self._balanced(name, chunks, self.problem.default.first_versions)
        if stages is None:
            return
        order = sorted(range(len(stages)), key=lambda s: min(copy[s] for copy in self.layout(name, chunks)))
        low, high = 0, len(stages)  # the first devices hold the most microbatches
        while high - low > 1:
            middle = (low + high) // 2
            rank = self.rank(self._in_stages(name, chunks, stages, choice, order[:middle]))
            if rank is None:
                return
            low, high = (middle, high) if rank[0] else (low, middle)
        yield self._in_stages(name, chunks, stages, choice, order[:high])

    def _in_stages(self, name: str, chunks: int, stages: Stages, choice: str, some: Sequence[int]) -> Way:
        return Way(name, chunks, stages, choice, tuple(len(stage) * (s in some) for s, stage in enumerate(stages)))

    def layout(self, name: str, chunks: int) -> Layout:
        """The device of every stage of each copy."""
        return SCHEDULES[name].layout(self.ranks, chunks)

    def _balanced(self, name: str, chunks: int, versions: Versions) -> Stages | None:
        """Stages of units: balanced, or of equally many layers where the runtime wants that."""
        count = self.ranks * chunks
        if count > len(self.units):
            self.reasons.append(f"{count} stages, and only {len(self.units)} places to cut")
            return None
        if not self.runtime.uneven:
            return self._even(count)
        own = self.cut.default if versions == self.cut.first_versions else self.cut.chosen(versions)
        found = partition(own, list(zip(*self.layout(name, chunks), strict=True)))
        if found is None:
            return None
        unit_of = {i: u for u, unit in enumerate(self.units) for i in unit}
        stages = tuple(tuple(dict.fromkeys(unit_of[i] for i in stage)) for stage in found)
        if sum(map(len, stages)) != len(self.units):  # a label's operators stand apart
            return None
        return stages

    def _even(self, count: int) -> Stages | None:
        """As many layers in every stage, the first ones one more; what is no layer goes with its neighbour."""
        layers = [u for u, is_layer in enumerate(self.layers) if is_layer]
        if len(layers) < count:
            self.reasons.append(f"{count} stages, and only {len(layers)} layers")
            return None
        each, more = divmod(len(layers), count)
        starts = [0]
        for s in range(count - 1):
            starts.append(starts[-1] + each + (s < more))
        places = [0, *(layers[k] for k in starts[1:]), len(self.units)]
        return tuple(tuple(range(a, b)) for a, b in pairwise(places))

    # -- replays -----------------------------------------------------------------------------------------

    def _versions(self, way: Way) -> Versions:
        choices = self.choices
        versions = list(choices.get(BASE, self.problem.first_versions))
        if way.name != BASE:
            wanted = choices[way.name]
            for stage, first in zip(way.stages, way.first, strict=True):
                for i in (i for u in stage[:first] for i in self.units[u]):
                    versions[i] = wanted[i]
        return tuple(versions)

    def rank(self, way: Way) -> Rank | None:
        """How good a way is, on the graph of its stages; None where the schedule does not apply."""
        if way not in self.known:
            quick = self._quick(way)
            if quick is not None:
                self.known[way] = (False, quick.makespan) if quick.fits else (True, quick.lacking)
                self.busiest[way] = quick.busiest
                return self.known[way]
            if SCHEDULES[way.schedule].fused or self.releases_inside:  # what shows operator by operator only
                ran = self._ran(way)
                found = None if ran is None else ran.figures
            else:
                found = self._replayed_as_stages(way)
            self.known[way] = None if found is None else rank_of(found)
            if found is not None:
                self.busiest[way] = int(np.argmax([d.busy for d in found.devices]))
        return self.known[way]

    def _quick(self, way: Way) -> Quick | None:
        """The figures of a way whose transfers are hidden, without a replay; None where only that tells them."""
        if self.runtime.exposes_transfers(way.chunks) or self.releases_inside:
            return None
        rows, layout = self._rows(way), self.layout(way.schedule, way.chunks)
        graph = None if rows is None else self._bounds.graph(way.schedule, way.chunks)
        if graph is None:
            return None
        found = self.quick.quick(graph, layout[0], way.stages, self._variant(way), way.first)
        if found is not None:
            self.incumbent.control.spend(1)
        return found

    def _replayed_as_stages(self, way: Way) -> Figures | None:
        rows = self._rows(way)
        if rows is None:
            return None
        whole = self.stage_costs.problem(way.stages, self._variant(way), way.first)
        layout = self.layout(way.schedule, way.chunks)
        if whole is None or not all(whole.allows(copy) for copy in layout):
            return None
        problem = with_transfers(whole, self.runtime.exposes_transfers(way.chunks))
        pipeline = Pipeline(problem, [[s] for s in range(len(way.stages))], range(self.ranks), Placement(layout), rows)
        self.incumbent.control.spend(1)
        return figures(problem, replay_blocks(pipeline, overlapped=self.runtime.reduces_beside))

    def _variant(self, way: Way) -> Versions:
        return self.choices.get(way.name, self.problem.first_versions)

    def _ran(self, way: Way) -> Ran | None:
        """The way replayed operator by operator; offered, where it fits."""
        problem, runtime = self.problem, self.runtime
        rows, versions = self._rows(way), self._versions(way)
        if rows is None:
            return None
        own = problem.default if versions == problem.first_versions else problem.chosen(versions)
        stages = [[i for u in stage for i in self.units[u]] for stage in way.stages]
        stage_of = {i: s for s, stage in enumerate(stages) for i in stage}
        layout = self.layout(way.schedule, way.chunks)
        device_of = tuple(tuple(copy[stage_of[i]] for i in range(problem.n_operators)) for copy in layout)
        if not all(own.allows(copy) for copy in device_of):
            return None
        own = with_transfers(own, runtime.exposes_transfers(way.chunks))
        placement = Placement(device_of, f"stages of {way.schedule}, as {runtime.name} runs them")
        pipeline = Pipeline(own, stages, range(self.ranks), placement, rows)
        found = replay_blocks(pipeline, exposed(own, runtime), runtime.reduces_beside)
        timetable = posed(problem, versions, found)
        ran = Ran(way, timetable, figures(problem, timetable))
        if ran.figures.fits:
            self.incumbent.offer(timetable, f"{way.told}, as {runtime.name} runs it")
        return ran

    def _rows(self, way: Way) -> Rows | None:
        key = way.schedule, way.chunks
        if key not in self.rows:
            try:
                rows = SCHEDULES[way.schedule].rows(self.ranks, self.problem.microbatches, way.chunks)
                self.rows[key] = rows if self.problem.training else [row.forwards() for row in rows]
            except NotApplicable as reason:
                self.reasons.append(str(reason))
                self.rows[key] = None
        return self.rows[key]


def baseline_as_run(name: str, problem: Problem, runtime: Runtime, variant: str | None = None) -> Timetable:
    """The timetable of a baseline as a runtime runs it, whatever memory it takes; raises ``NotApplicable``."""
    if name not in runtime.schedules:
        some = ", ".join(runtime.schedules)
        raise NotApplicable(f"{runtime.title} does not run {SCHEDULES[name].title}; it runs {some}")
    why = without_pipeline(runtime, problem)
    if why is not None:
        raise NotApplicable(why)
    if SCHEDULES[name].family == "bidirectional":  # it brings its copies along
        problem = replace(problem, copies=max(2, problem.copies))
    search = RuntimeSearch(problem, runtime, Incumbent(problem, Control(), 0.0, lambda _: None))
    ran = search.baseline(name, variant)
    if ran is None:
        raise NotApplicable("; ".join(search.reasons) or f"no contiguous stages for {SCHEDULES[name].title}")
    return ran.timetable

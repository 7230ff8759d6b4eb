"""Random little problems, and every plan of them that a runtime can be told, replayed operator by operator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, pairwise, product
from unittest.mock import patch

import numpy as np

from planner.baselines import SCHEDULES, NotApplicable, operators
from planner.baselines.operators import Pipeline, replay_blocks
from planner.placement.kinds import Versions
from planner.placement.versions import different_choices
from planner.problem import (
    BASE,
    Device,
    DeviceType,
    Graph,
    Impossible,
    Mode,
    NetworkLevel,
    Operator,
    Pass,
    Placement,
    Problem,
    Stream,
)
from planner.problem.cluster import Cluster
from planner.problem.graph import ByDevice, Collective, PassTime, Variant
from planner.problem.made_from import MadeFrom
from planner.runtimes.cuts import cut_for, layer_of
from planner.runtimes.runtime import Recomputing, Runtime
from planner.runtimes.whole_passes import exposed, with_transfers
from planner.timetable.figures import figures

Stages = tuple[tuple[int, ...], ...]

TYPES = ("fast", "slow")


class _Made:
    """What makes one random problem."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.devices = int(rng.choice([1, 2, 2, 2, 3]))
        self.mixed = self.devices > 1 and self.chance(0.25)
        self.training = not self.chance(0.15)

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def seconds(self, zero: float = 0.1) -> PassTime:
        base = 0.0 if self.chance(zero) else float(self.rng.choice([self.rng.integers(1, 6), self.rng.random() * 4]))
        if not self.mixed:
            return base
        slow = base * float(self.rng.choice([1.0, 1.5, 3.0]))
        return ByDevice({"fast": base} if self.chance(0.04) else {"fast": base, "slow": slow})

    def times(self) -> dict[Pass, PassTime]:
        found: dict[Pass, PassTime] = {Pass.F: self.seconds()}
        if self.training:
            found[Pass.I] = self.seconds()
            if self.chance(0.6):
                found[Pass.W] = self.seconds(0.0)
        return found

    def layer(self, with_step: bool, variants: Sequence[str]) -> list[Operator]:
        """The operators of a layer, named 0, 1, ... and reading one another."""
        rng, some = self.rng, []
        for k in range(int(rng.integers(1, 4))):
            comm = k > 0 and self.chance(0.4)
            times = self.times()
            if comm:
                times.pop(Pass.W, None)
            activation = float(rng.integers(0, 5))
            held = float(rng.integers(0, int(activation) + 1)) if Pass.W in times else 0.0
            others = tuple(
                Variant(
                    name,
                    self.times(),
                    float(rng.integers(1, 4)) if self.chance(0.2) else 2.0,
                    lean := float(rng.integers(0, int(activation) + 1)),
                    float(rng.integers(0, int(lean) + 1)),
                )
                for name in variants
                if not comm and self.chance(0.8)
            )
            step = {p: self.seconds() for p in (Pass.R, Pass.U, Pass.G) if self.chance(0.6)}
            some.append(
                Operator(
                    f"{k}",
                    times,
                    (f"{k - 1}",) if k else (),
                    Stream.COMM if comm else Stream.COMPUTE,
                    parameters=2.0,
                    activation=activation,
                    held_for_weight_grad=held,
                    output=float(rng.integers(0, 4)),
                    variants=others,
                    step=step if with_step and not comm and self.training else {},
                    collective=[Collective.TENSOR, Collective.WEIGHTS, Collective.EXPERT, None][int(rng.integers(4))]
                    if comm
                    else None,
                )
            )
        return some


def random_problem(rng: np.random.Generator) -> Problem | None:
    """A little problem of any kind; None where it turns out to have no plan at all."""
    made = _Made(rng)
    with_step = made.chance(0.6)
    variants = [(), ("full",), ("selective", "full")][int(rng.integers(3))]
    alike = made.chance(0.6)
    layers = int(rng.integers(1, 5))
    one = made.layer(with_step, variants)
    some: list[Operator] = []
    if made.chance(0.6):
        embed = made.layer(with_step, ())[0]
        some.append(replace(embed, name="embed", colocate="tied" if made.chance(0.15) else None))
    for k in range(layers):
        before = some[-1].name if some else None
        for operator in one if alike else made.layer(with_step, variants):
            inputs = tuple(f"layer.{k}.{name}" for name in operator.inputs) or ((before,) if before else ())
            some.append(replace(operator, name=f"layer.{k}.{operator.name}", inputs=inputs))
    if made.chance(0.6):
        head = made.layer(with_step, ())[0]
        label = "tied" if some[0].colocate else None
        some.append(replace(head, name="head", inputs=(some[-1].name,), colocate=label))
    if len(some) > 2 and made.chance(0.15):  # a skip
        some[-1] = replace(some[-1], inputs=(*some[-1].inputs, some[0].name))
    microbatches = int(rng.integers(1, 6))
    if made.chance(0.5):
        microbatches = made.devices * int(rng.integers(1, 3))
    graph = Graph(
        "g",
        Mode.TRAINING if made.training else Mode.INFERENCE,
        microbatches,
        tuple(some),
        clip_gradients=made.chance(0.5),
        made_from=MadeFrom("toy", rules="E=embed,t=layer.*,L=head"),
    )
    types = {name: DeviceType(name) for name in TYPES}
    whole = sum(o.parameters + o.activation * min(microbatches, 3) for o in some) / made.devices
    memory = None if made.chance(0.4) else float(np.ceil(whole * (0.3 + rng.random())))
    own = [types["slow" if made.mixed and made.chance(0.5) else "fast"] for _ in range(made.devices)]
    levels = [NetworkLevel(4.0, 0.25), NetworkLevel(1.0, 1.0), NetworkLevel(None, 0.5)]
    cluster = Cluster(
        "c",
        tuple(Device(f"d{d}", kind.name, kind, memory=memory) for d, kind in enumerate(own)),
        types,
        within_node=None if made.chance(0.3) else levels[int(rng.integers(3))],
    )
    try:
        return Problem(graph, cluster, microbatches)
    except Impossible:
        return None


def cuts(segments: Sequence[tuple[int, ...]], count: int) -> Iterator[Stages]:
    """Every way to cut segments into so many stages: the operators of each."""
    for some in combinations(range(1, len(segments)), count - 1):
        yield tuple(
            tuple(i for segment in segments[a:b] for i in segment) for a, b in pairwise((0, *some, len(segments)))
        )


def told(problem: Problem, runtime: Runtime, stages: Stages) -> list[Versions]:
    """The versions of all operators that a runtime can be told on these stages.

    Of choices stage by stage, where they are many, those that differ from one for all stages in one stage.
    """
    choices = different_choices(problem)
    found = dict.fromkeys(choices.values())
    if runtime.recompute is Recomputing.STAGE:
        every = product(choices, repeat=len(stages))
        if len(choices) ** len(stages) > 32:
            alike = [(name,) * len(stages) for name in choices]
            every = iter([(*a[:s], name, *a[s + 1 :]) for a in alike for s in range(len(stages)) for name in choices])
        for names in every:
            of = {i: choices[name][i] for stage, name in zip(stages, names, strict=True) for i in stage}
            found[tuple(of[i] for i in range(problem.n_operators))] = None
    if runtime.recompute is Recomputing.FIRST_LAYERS and BASE in choices:
        layers = [[layer_of(problem.operators[i].name) for i in stage] for stage in stages]
        most = max(len(set(some) - {None}) for some in layers)
        for name, n in product(set(choices) - {BASE, "selective"}, range(1, most)):
            versions = list(choices[BASE])
            for stage, some in zip(stages, layers, strict=True):
                first = list(dict.fromkeys(layer for layer in some if layer is not None))[:n]
                for i, layer in zip(stage, some, strict=True):
                    if layer in first:
                        versions[i] = choices[name][i]
            found[tuple(versions)] = None
    return list(found)


def even(problem: Problem, stages: Stages) -> bool:
    """Whether the stages have as equal numbers of layers as can be, and the first ones more."""
    sizes = [len({layer_of(problem.operators[i].name) for i in stage} - {None}) for stage in stages]
    each, more = divmod(sum(sizes), len(sizes))
    return each > 0 and sizes == [each + (s < more) for s in range(len(sizes))]


def every_makespan(
    problem: Problem, runtime: Runtime, name: str, chunks: int, rng: np.random.Generator, at_most: int = 150
) -> tuple[float, bool]:
    """The least makespan of the plans of one order that a runtime can be told and that fit in memory; inf for none.

    And whether all were replayed: where there are more than ``at_most``, only some that ``rng`` picks are.
    """
    best = np.inf
    ranks = problem.n_devices
    schedule = SCHEDULES[name]
    try:
        rows = schedule.rows(ranks, problem.microbatches, chunks)
    except NotApplicable:
        return best, True
    rows = rows if problem.training else [row.forwards() for row in rows]
    layout = schedule.layout(ranks, chunks)
    cut = cut_for(problem, runtime)
    every = [
        (stages, versions)
        for stages in cuts(cut.segments.loose, ranks * chunks)
        if runtime.uneven or even(problem, stages)
        for versions in told(problem, runtime, stages)
    ]
    some = range(len(every)) if len(every) <= at_most else rng.choice(len(every), at_most, replace=False).tolist()
    for k in some:
        stages, versions = every[k]
        stage_of = {i: s for s, stage in enumerate(stages) for i in stage}
        device_of = tuple(tuple(copy[stage_of[i]] for i in range(problem.n_operators)) for copy in layout)
        own = problem.default if versions == problem.first_versions else problem.chosen(versions)
        if not all(own.allows(copy) for copy in device_of):
            continue
        own = with_transfers(own, runtime.exposes_transfers(chunks))
        pipeline = Pipeline(own, stages, range(ranks), Placement(device_of, "every"), rows)
        with patch.object(operators, "SHARED_EFFORT", 500):  # a packing is a plan, whether or not it is the best
            found = figures(own, replay_blocks(pipeline, exposed(own, runtime), runtime.reduces_beside))
        if found.fits:
            best = min(best, found.makespan)
    return best, len(some) == len(every)

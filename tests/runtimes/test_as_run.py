"""Plans of runtimes: what they may do, checked row by row, and bounds against every plan of little problems."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest

import planner
from planner.baselines import SCHEDULES, NotApplicable
from planner.common.budget import Control
from planner.objectives.options import NoPlan
from planner.placement.versions import different_choices
from planner.plan.plan import Plan, PlannedTransfer
from planner.problem import Device, DeviceType, Graph, Impossible, Mode, NetworkLevel, Operator, Pass, Problem, Stream
from planner.problem.cluster import Cluster
from planner.problem.graph import ByDevice, Collective, Variant
from planner.problem.made_from import MadeFrom
from planner.runtimes.cuts import cut_for, layer_of
from planner.runtimes.registry import RUNTIMES
from planner.runtimes.runtime import Cut
from planner.runtimes.whole_passes import runtime_bound
from planner.search.as_run import RuntimeSearch
from planner.search.incumbent import Incumbent
from planner.search.ways import Way
from planner.verification import verify_plan
from planner.verification.runtime import EXPOSES_TRANSFERS, HIDES

PIPELINES = [name for name, runtime in RUNTIMES.items() if runtime.schedules and runtime.pipeline]


def layers(
    rng: np.random.Generator,
    count: int,
    devices: int,
    microbatches: int,
    memory: float | None = None,
    variants: bool = False,
    collective: Collective | None = Collective.TENSOR,
    step: bool = True,
) -> Problem:
    """An embedding, layers of attention, its sum and an MLP, a head: random whole times, free or short transfers."""
    operators = [Operator("embed", {Pass.F: 1.0, Pass.I: 1.0}, output=1.0, parameters=1.0)]
    for k in range(count):
        f, i, w = (float(x) for x in rng.integers(1, 5, 3))
        fuller = {Pass.F: f, Pass.I: i + f + w}
        some = (Variant("full", fuller, 2.0, 1.0, 1.0),) if variants else ()
        times = {Pass.U: 1.0, Pass.R: 2.0} if step else {}
        operators += [
            Operator(
                f"layer.{k}.attn",
                {Pass.F: f, Pass.I: i, Pass.W: w},
                (operators[-1].name,),
                parameters=2.0,
                activation=3.0,
                held_for_weight_grad=2.0,
                output=2.0,
                variants=some,
                step=times,
            ),
            Operator(
                f"layer.{k}.sum",
                {Pass.F: 1.0, Pass.I: 1.0},
                (f"layer.{k}.attn",),
                Stream.COMM,
                output=1.0,
                collective=collective,
            ),
            Operator(f"layer.{k}.mlp", {Pass.F: 2.0, Pass.I: 2.0}, (f"layer.{k}.sum",), activation=1.0, output=1.0),
        ]
    operators.append(Operator("head", {Pass.F: 1.0, Pass.I: 1.0, Pass.W: 1.0}, (operators[-1].name,), parameters=1.0))
    origin = MadeFrom("toy", rules="E=embed,t=layer.*,L=head")
    graph = Graph("toy", Mode.TRAINING, microbatches, tuple(operators), made_from=origin)
    kind = DeviceType("gpu", memory=memory)
    cluster = Cluster(
        "c",
        tuple(Device(f"d{d}", "d", kind, memory=memory) for d in range(devices)),
        {"gpu": kind},
        within_node=NetworkLevel(4.0, 0.25),
    )
    return Problem(graph, cluster, microbatches)


def solved(problem: Problem, runtime: str, **flags: object) -> Plan:
    return planner.solve(problem, time_limit=None, effort=300, runtime=runtime, **flags)  # type: ignore[arg-type]


def stage_passes(plan: Plan, problem: Problem) -> dict[tuple[str, str, int, int], list[tuple[float, float]]]:
    """When operators run, by device, pass (B: I and W), microbatch and stage (consecutive operators on a device)."""
    found: dict[tuple[str, str, int, int], list[tuple[float, float]]] = defaultdict(list)
    device = {p.operator: p.device for p in plan.placement}
    order = [o.name for o in problem.operators]
    stage, at = {}, 0
    for before, name in zip([order[0], *order], order, strict=False):
        at += device[before] != device[name]
        stage[name] = at
    for task in plan.tasks:
        found[task.device, "F" if task.pass_ == "F" else "B", task.microbatch, stage[task.operator]].append(
            (task.start, task.end)
        )
    return found


def overlaps(some: list[tuple[float, float]], others: list[tuple[float, float]]) -> bool:
    return any(a < d - 1e-9 and c < b - 1e-9 for a, b in some for c, d in others)


@pytest.mark.parametrize("runtime", PIPELINES)
@pytest.mark.parametrize("seed", range(2))
def test_plans_are_what_the_runtime_runs(runtime: str, seed: int) -> None:
    rng = np.random.default_rng((seed, 7))
    facts = RUNTIMES[runtime]
    copies = 2 if runtime == "dualpipe" else 1
    problem = replace(
        layers(rng, 7, 2, 4, memory=60.0 if facts.uneven and copies == 1 else None, variants=seed > 0), copies=copies
    )
    plan = solved(problem, runtime, baselines=["1f1b", "zb1p", "dualpipe"])
    checked = verify_plan(plan, problem.graph, problem.cluster, copies=copies, memory_cap=None, microbatches=4)
    assert checked == []
    assert plan.options["runtime"] == runtime
    assert plan.unrestricted is not None
    assert plan.unrestricted.lower_bound <= plan.unrestricted.makespan <= plan.makespan * (1 + 1e-9)
    assert plan.lower_bound is not None
    assert plan.unrestricted.lower_bound <= plan.lower_bound * (1 + 1e-9)
    # a layer is on one device, and copies do not part it
    for k in range(7 if facts.cut is Cut.LAYER else 0):
        for copy in range(plan.copies):
            homes = {p.device for p in plan.placement if p.operator.startswith(f"layer.{k}.") and p.copy == copy}
            assert len(homes) == 1
    # exposed collectives stop computation
    computing, summing = defaultdict(list), defaultdict(list)
    for task in plan.tasks:
        (summing if task.stream == "comm" else computing)[task.device].append((task.start, task.end))
    paired = any(SCHEDULES[name].fused for name in facts.schedules)
    if not (paired and Collective.TENSOR in facts.hides):
        for device in computing:
            assert not overlaps(computing[device], summing[device])
    if plan.copies == 1 and not paired and set(facts.schedules) <= {"gpipe", "1f1b", "interleaved-1f1b"}:
        whole = [
            (key, min(a for a, _ in some), max(b for _, b in some)) for key, some in stage_passes(plan, problem).items()
        ]
        for (one, a, b), (two, c, d) in combinations(whole, 2):
            assert one[0] != two[0] or b <= c + 1e-9 or d <= a + 1e-9, (one, two)
    if facts.transfers.value == "exposed":
        moving = defaultdict(list)
        for transfer in plan.transfers:
            for device in (transfer.source, transfer.target):
                moving[device].append((transfer.start, transfer.end))
        for device in computing:
            assert not overlaps(computing[device], moving[device])
    if not facts.uneven:
        counts = [sum(p.device == d and p.operator.endswith(".attn") for p in plan.placement) for d in ("d0", "d1")]
        assert sorted(counts) == [3, 4]
    for ran in plan.baselines:
        assert (ran.makespan is not None) == (ran.name in facts.schedules), ran.reason


@pytest.mark.parametrize("runtime", ["megatron", "nanotron", "megatron-deepspeed", "torch", "torchtitan", "dualpipe"])
@pytest.mark.parametrize("seed", range(3))
def test_bounds_against_every_plan(runtime: str, seed: int) -> None:
    """Every schedule, cut and uniform choice of three layers on two devices: the bound is below all, the search finds
    none that is better."""
    rng = np.random.default_rng((seed, 11))
    memory = (None, 14.0, 18.0)[seed % 3]
    problem = replace(
        layers(rng, 3, 2, int(rng.integers(2, 5)), memory, variants=bool(seed % 2), step=seed > 2), copies=2
    )
    facts = RUNTIMES[runtime]
    search = RuntimeSearch(problem, facts, Incumbent(problem, Control(), 1e-6, lambda _: None))
    best = np.inf
    for name in facts.schedules:
        if search._rejected(name):
            continue
        for chunks in search._chunks(name):
            for cuts in combinations(range(1, len(search.units)), 2 * chunks - 1):
                places = [0, *cuts, len(search.units)]
                stages = tuple(tuple(range(a, b)) for a, b in pairwise(places))
                for choice in different_choices(problem):
                    first = tuple(len(stage) * (choice != "base") for stage in stages)
                    ran = search._ran(Way(name, chunks, stages, choice, first))
                    if ran is not None and ran.figures.fits:
                        best = min(best, ran.figures.makespan)
    bound = runtime_bound(problem, facts, Control())
    assert bound <= best * (1 + 1e-9)
    if not np.isfinite(best):
        return
    try:
        plan = planner.solve(problem, time_limit=None, effort=1_000, runtime=runtime)
    except NoPlan:
        assert not facts.uneven, "cuts into equal stages alone do not fit"
        return
    assert plan.lower_bound is not None
    assert bound <= plan.makespan * (1 + 1e-9)
    if facts.uneven:
        assert plan.makespan <= best * (1 + 1e-9)


def test_megatron_pays_for_what_the_device_model_hides() -> None:
    """One device, two microbatches, by hand: sums beside the other microbatch's computation, or after it."""
    kind = DeviceType("gpu")
    cluster = Cluster("c", (Device("d0", "d", kind),), {"gpu": kind})
    operators = (
        Operator("layer.0.attn", {Pass.F: 3.0, Pass.I: 3.0}),
        Operator(
            "layer.0.sum", {Pass.F: 2.0, Pass.I: 2.0}, ("layer.0.attn",), Stream.COMM, collective=Collective.TENSOR
        ),
    )
    problem = Problem(Graph("g", Mode.TRAINING, 2, operators), cluster, 2)
    assert solved(problem, "megatron").makespan == 2 * (3 + 2 + 2 + 3)
    assert planner.solve(problem, time_limit=None, effort=300).makespan < 20
    hidden = replace(operators[1], collective=Collective.WEIGHTS)
    beside = Problem(Graph("g", Mode.TRAINING, 2, (operators[0], hidden)), cluster, 2)
    assert runtime_bound(beside, RUNTIMES["megatron"], Control()) < 20


def test_no_update_beside_an_exposed_collective() -> None:
    """The second operator's update waits for the first one's last sum, as any computation does."""
    kind = DeviceType("gpu")
    cluster = Cluster("c", (Device("d0", "d", kind),), {"gpu": kind})
    operators = (
        Operator(
            "layer.0.sum", {Pass.F: 2.0, Pass.I: 3.0}, stream=Stream.COMM, collective=Collective.TENSOR, output=1.0
        ),
        Operator("layer.0.mlp", {Pass.F: 4.0, Pass.I: 4.0}, ("layer.0.sum",), step={Pass.U: 4.0}),
    )
    problem = Problem(Graph("g", Mode.TRAINING, 1, operators), cluster, 1)
    plan = solved(problem, "megatron")
    assert plan.makespan == plan.lower_bound == 2 + 4 + 4 + 3 + 4
    early = tuple(task._replace(start=10.0, end=14.0) for task in plan.step_tasks)
    found = planner.verify(replace(plan, step_tasks=early), problem)
    assert any("the update of layer.0.mlp" in violation.message for violation in found)


def test_hidden_and_exposed_collectives_take_turns() -> None:
    """Both occupy the comm stream: weights are gathered beside computation, not beside a sum over tensor ranks."""
    kind = DeviceType("gpu")
    cluster = Cluster("c", (Device("d0", "d", kind),), {"gpu": kind})

    def collective(name: str, seconds: float, inputs: tuple[str, ...], what: Collective) -> Operator:
        return Operator(name, {Pass.F: seconds, Pass.I: 0.0}, inputs, Stream.COMM, collective=what)

    operators = (
        collective("layer.0.sum", 2.0, (), Collective.TENSOR),
        collective("layer.1.gather", 3.0, (), Collective.WEIGHTS),
        Operator("layer.0.mlp", {Pass.F: 2.0, Pass.I: 2.0}, ("layer.0.sum",)),
        Operator("layer.1.mlp", {Pass.F: 2.0, Pass.I: 2.0}, ("layer.0.mlp", "layer.1.gather")),
    )
    problem = Problem(Graph("g", Mode.TRAINING, 1, operators), cluster, 1)
    for name in ("fsdp", "megatron", "torch"):
        assert solved(problem, name).makespan == 2 + 3 + 2 + 4


def test_inference_releases_memory_inside_a_stage() -> None:
    """Three layers of a stage hold no more than two at once, so that the long first one may stand alone."""
    kind = DeviceType("gpu", memory=9.0)
    cluster = Cluster("c", tuple(Device(f"d{d}", "d", kind, memory=9.0) for d in range(2)), {"gpu": kind})
    operators = tuple(
        Operator(f"layer.{k}.mlp", {Pass.F: f}, (f"layer.{k - 1}.mlp",) if k else (), activation=4.0)
        for k, f in enumerate((9.0, 3.0, 3.0, 3.0))
    )
    plan = solved(Problem(Graph("g", Mode.INFERENCE, 4, operators), cluster, 4), "nanotron")
    assert plan.makespan == 4 * 9 + 9


def test_the_bound_has_time_of_its_own() -> None:
    """Linear programs bound plans on devices that differ; tuning may have used up all that it had."""
    problem = layers(np.random.default_rng(8), 10, 2, 4, step=False)
    kinds = {name: DeviceType(name) for name in ("fast", "slow")}
    devices = (Device("d0", "d", kinds["fast"]), Device("d1", "d", kinds["slow"]))
    slower = tuple(
        replace(o, times={p: ByDevice({"fast": t, "slow": 2 * t}) for p, t in o.times.items()})  # type: ignore[operator]
        for o in problem.operators
    )
    mixed = replace(
        problem,
        graph=replace(problem.graph, operators=slower),
        cluster=replace(problem.cluster, devices=devices, types=kinds),
    )
    plan = planner.solve(mixed, time_limit=None, effort=20, runtime="torchtitan")
    assert plan.lower_bound is not None
    assert plan.lower_bound >= runtime_bound(mixed, RUNTIMES["torchtitan"], Control()) * (1 - 1e-6)


def test_stages_keep_to_the_devices_of_their_operators() -> None:
    """Cuts that `devices:` or the times of a variant forbid are passed over, and are no proof that there is no plan."""
    rng = np.random.default_rng(6)
    problem = layers(rng, 4, 2, 4, step=False)
    where = {"layer.1.attn": ("d0",), "layer.2.mlp": ("d1",)}
    bound = tuple(replace(o, devices=where.get(o.name)) for o in problem.operators)
    plan = solved(replace(problem, graph=replace(problem.graph, operators=bound)), "megatron")
    device = {p.operator: p.device for p in plan.placement}
    assert device["layer.1.mlp"] == "d0"
    assert device["layer.2.attn"] == "d1"

    only = Variant("recompute", {Pass.F: 1.0, Pass.I: 2.0}, 1.0, 0.0, 0.0)
    never = replace(
        problem.operators[-1], times={Pass.F: 1.0, Pass.I: ByDevice({}), Pass.W: 1.0}, variants=(only,), devices=None
    )
    graph = replace(problem.graph, operators=(*problem.operators[:-1], never))
    for name in ("megatron", "nanotron"):
        plan = solved(replace(problem, graph=graph), name)
        assert [p.variant for p in plan.placement if p.operator == "head"] == ["recompute"]


def test_what_a_runtime_refuses() -> None:
    rng = np.random.default_rng(1)
    problem = layers(rng, 4, 2, 4)
    with pytest.raises(Impossible, match=r"PyTorch FSDP runs no pipeline, and the cluster has 2 devices"):
        solved(problem, "fsdp")
    with pytest.raises(NoPlan, match=r"no order of Megatron-LM .* fits in memory: the nearest, .* needs .* on d"):
        solved(layers(rng, 4, 2, 4, memory=14.0), "megatron")
    with pytest.raises(Impossible, match="memory"):
        solved(layers(rng, 4, 2, 4, memory=1.0), "megatron")
    with pytest.raises(ValueError, match="runtime must be one of any, megatron"):
        solved(problem, "pytorch")
    with pytest.raises(ValueError, match="runtime megatron goes with objective makespan"):
        planner.solve(problem, runtime="megatron", objective="memory")
    with pytest.raises(NotApplicable, match="does not run ZB1P; it runs 1f1b, interleaved-1f1b"):
        planner.baseline("zb1p", problem, runtime="megatron")
    with pytest.raises(NotApplicable, match=r"PyTorch FSDP runs no pipeline, and the cluster has 2 devices"):
        planner.baseline("1f1b", problem, runtime="fsdp")
    assert solved(layers(rng, 4, 1, 4), "fsdp").makespan > 0


def test_a_baseline_as_a_runtime_runs_it() -> None:
    problem = layers(np.random.default_rng(2), 6, 2, 6)
    free, run = (planner.baseline("1f1b", problem, runtime=name) for name in ("any", "megatron"))
    assert run.makespan > free.makespan
    assert run.options["runtime"] == "megatron"
    assert "runtime" not in free.options
    assert planner.baseline("dualpipe", layers(np.random.default_rng(2), 6, 2, 8), runtime="dualpipe").copies == 2


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("layer.3.attn", "layer.3"),
        ("layer_window_full.0.window.4.attn", "layer_window_full.0.window.4"),
        ("model.layers.7.self_attn.q_proj", "model.layers.7"),
        ("embed", None),
        ("mtp_attn", "mtp"),
        ("mtp1_attn", "mtp1"),
        ("head", None),
    ],
)
def test_the_layer_of_an_operator(name: str, layer: str | None) -> None:
    assert layer_of(name, "E=embed,t=layer.*,m=mtp*,L=head") == layer


def test_labels_over_several_layers_stay() -> None:
    """Embedding and head share a matrix; layers are kept together beside that."""
    problem = layers(np.random.default_rng(3), 2, 2, 2)
    tied = tuple(
        replace(o, colocate="tied") if o.name in ("embed", "layer.1.mlp") else o for o in problem.graph.operators
    )
    cut = cut_for(replace(problem, graph=replace(problem.graph, operators=tied)), RUNTIMES["megatron"])
    labels = {o.name: o.colocate for o in cut.operators}
    assert labels["embed"] == labels["layer.1.mlp"] == "tied"
    assert labels["layer.0.attn"] == labels["layer.0.sum"] == labels["layer.0.mlp"] == "layer.0 (layer)"
    assert cut_for(problem, RUNTIMES["torch"]) is problem


def test_a_very_long_step() -> None:
    """Its steady state is listed once; plan, bound and baseline are those of the whole."""
    problem = layers(np.random.default_rng(4), 4, 2, 30_000, memory=60.0)
    plan = planner.solve(problem, time_limit=4, runtime="megatron", baselines=["1f1b"])
    assert plan.repeated is not None
    assert plan.lower_bound is not None
    assert plan.lower_bound <= plan.makespan
    assert plan.baselines[0].makespan is not None
    assert plan.makespan <= plan.baselines[0].makespan * (1 + 1e-9)


def test_verify_finds_computation_beside_an_exposed_collective() -> None:
    problem = layers(np.random.default_rng(5), 4, 2, 4)
    plan = planner.solve(problem, time_limit=None, effort=300)
    assert planner.verify(plan, problem) == []
    claimed = replace(plan, options={**plan.options, "runtime": "megatron"})
    found = planner.verify(claimed, problem)
    assert {violation.rule for violation in found} == {planner.Rule.RUNTIME}
    assert "megatron computes nothing beside 'layer." in found[0].message
    unknown = replace(plan, options={**plan.options, "runtime": "mine"})
    assert [violation.rule for violation in planner.verify(unknown, problem)] == [planner.Rule.RUNTIME]
    run = solved(problem, "megatron")
    sent = replace(run, options={**run.options, "runtime": "nanotron"})
    moved = [replace_start(sent, transfer) for transfer in sent.transfers[:1]]
    assert any("the transfer of" in v.message for plan in moved for v in planner.verify(plan, problem))


def replace_start(plan: Plan, transfer: PlannedTransfer) -> Plan:
    """The plan with one transfer moved to where its sender computes."""
    busy = max((t for t in plan.tasks if t.device == transfer.source and t.stream == "compute"), key=lambda t: t.start)
    length = transfer.end - transfer.start
    moved = transfer._replace(start=busy.start, end=busy.start + length)
    return replace(plan, transfers=tuple(moved if t is transfer else t for t in plan.transfers))


def test_lists_of_verification_are_those_of_the_runtimes() -> None:
    """Two lists that share no code say the same."""
    assert {name: {kind.value for kind in r.hides} for name, r in RUNTIMES.items() if name != "any"} == HIDES
    assert {name for name, r in RUNTIMES.items() if r.transfers.value == "exposed"} == EXPOSES_TRANSFERS

"""Bounds of orders against every plan that a runtime can be told, and paths of orders against replays."""

from __future__ import annotations

import numpy as np
import pytest
from every_plan import every_makespan, random_problem

from planner.baselines import SCHEDULES
from planner.baselines.operators import Pipeline, replay_blocks
from planner.common.budget import Control
from planner.problem import Device, DeviceType, Graph, Mode, NetworkLevel, Operator, Pass, Placement, Problem
from planner.problem.cluster import Cluster
from planner.problem.graph import Variant
from planner.problem.made_from import MadeFrom
from planner.runtimes.cuts import cut_for
from planner.runtimes.order_bound import OrderBounds
from planner.runtimes.order_graph import PASSES, order_graph
from planner.runtimes.rank_bound import rank_bound
from planner.runtimes.registry import RUNTIMES
from planner.search.as_run import RuntimeSearch
from planner.search.incumbent import Incumbent
from planner.search.ways import Way, rank_of

PIPELINES = ["megatron", "torchtitan", "torch", "nanotron", "megatron-deepspeed"]


def search_of(problem: Problem, runtime: str) -> RuntimeSearch:
    return RuntimeSearch(problem, RUNTIMES[runtime], Incumbent(problem, Control(), 0.0, lambda _: None))


def some_problems(seed: int, count: int) -> list[tuple[Problem, np.random.Generator]]:
    rngs = [np.random.default_rng((seed, k)) for k in range(2 * count)]
    found = [(problem, rng) for problem, rng in ((random_problem(rng), rng) for rng in rngs) if problem is not None]
    return found[:count]


@pytest.mark.parametrize("runtime", PIPELINES)
@pytest.mark.parametrize("seed", range(3))
def test_no_plan_is_below_the_bound_of_its_order(runtime: str, seed: int) -> None:
    """Every cut and choice of versions on little problems of all kinds, replayed operator by operator."""
    compared, tight = 0, 0
    for problem, rng in some_problems(seed, 3):
        search = search_of(problem, runtime)
        best = np.inf
        for order in search.orders:
            bound = search.order_bound(order)  # inf, where the order does not exist
            bound = max(bound, search.order_bound(order, np.inf))
            least, _ = every_makespan(problem, RUNTIMES[runtime], *order, rng, 15)
            assert bound <= least * (1 + 1e-7), (seed, order)
            if np.isfinite(bound):  # plans that are longer than a known one may be left aside
                enough = float(least * rng.choice([1.0, 1.2])) if np.isfinite(least) else 100.0
                assert search._bounds.of(*order, Control(), enough) <= max(least, enough) * (1 + 1e-7)
                assert not np.isfinite(least) or search._bounds.of(*order, Control(), enough) <= least * (1 + 1e-7)
            best = min(best, least)
            compared += 1
            tight += bound >= least * (1 - 1e-6)
        any_order = rank_bound(search._bounds, search.runtime.schedules, Control(), np.inf)
        assert any_order <= best * (1 + 1e-7)
        if np.isfinite(best):
            assert search.bound(best) <= best * (1 + 1e-7)
    assert compared
    assert tight


@pytest.mark.parametrize("runtime", ["torch", "torchtitan", "megatron"])
@pytest.mark.parametrize("ranks", [2, 4, 6])
def test_the_bound_of_any_order_on_many_devices(runtime: str, ranks: int) -> None:
    """Two layers a device, passes of one second: weight gradients fill what is left after input gradients went back."""
    operators = tuple(
        Operator(f"layer.{k}", {Pass.F: 1.0, Pass.I: 1.0, Pass.W: 1.0}, (f"layer.{k - 1}",) if k else ())
        for k in range(2 * ranks)
    )
    kind = DeviceType("gpu")
    cluster = Cluster("c", tuple(Device(f"d{d}", "d", kind) for d in range(ranks)), {"gpu": kind})
    search = search_of(Problem(Graph("g", Mode.TRAINING, 12, operators), cluster, 12), runtime)
    best = search.run()
    assert best is not None
    bound = rank_bound(search._bounds, search.runtime.schedules, Control(), np.inf)
    assert 72 <= bound <= best.figures.makespan


@pytest.mark.parametrize("name", [name for name, s in SCHEDULES.items() if not s.fused and s.family != "bidirectional"])
def test_the_longest_path_is_what_a_replay_takes(name: str) -> None:
    """Stages of random times, with transfers of one length: a graph's end is the replay's."""
    rng = np.random.default_rng(5)
    schedule, ranks = SCHEDULES[name], 3
    stages, m = ranks * schedule.chunks, 6
    seconds = rng.integers(1, 9, (stages, 3)).astype(float)
    operators = tuple(
        Operator(f"{s}", dict(zip(Pass, row, strict=False)), (f"{s - 1}",) if s else ())
        for s, row in enumerate(seconds.tolist())
    )
    kind = DeviceType("gpu")
    devices = tuple(Device(f"d{d}", "d", kind) for d in range(ranks))
    cluster = Cluster("c", devices, {"gpu": kind}, within_node=NetworkLevel(None, 0.25))
    problem = Problem(Graph("g", Mode.TRAINING, m, operators), cluster, m)
    rows, layout = schedule.rows(ranks, m, schedule.chunks), schedule.layout(ranks, schedule.chunks)
    graph = order_graph(rows, stages, list(layout[0]), m)
    assert graph is not None
    passes = np.concatenate([seconds, seconds[:, 1:].sum(axis=1, keepdims=True)], axis=1)
    longest = graph.longest(passes, 0.25)
    pipeline = Pipeline(problem, [[s] for s in range(stages)], range(ranks), Placement(layout), rows)
    timetable = replay_blocks(pipeline)
    ends = timetable.ends(problem)
    for d, (length, counts, sent) in enumerate(longest):
        own = [s for s, device in enumerate(layout[0]) if device == d]
        assert length == pytest.approx(float(np.nanmax(ends[own])))
        assert length == pytest.approx(float((counts * passes).sum()) + 0.25 * sent)
    assert graph.split == (name not in ("gpipe", "1f1b", "interleaved-1f1b"))


def test_what_is_known_without_a_replay_is_what_a_replay_says() -> None:
    """Makespan, memory and the busiest device of random stages in the orders of runtimes that hide transfers."""
    compared = 0
    for problem, rng in some_problems(9, 40):
        for runtime in ("torchtitan", "torch"):
            search = search_of(problem, runtime)
            for order in search.orders:
                stages = search._balanced(*order, problem.first_versions)
                if stages is None or SCHEDULES[order[0]].fused:
                    continue
                name = list(search.choices)[-1]
                way = Way(*order, stages, name, tuple(len(s) * int(rng.integers(2)) for s in stages))
                quick, slow = search._quick(way), search._replayed_as_stages(way)
                if quick is None or slow is None:
                    continue
                assert quick.makespan == pytest.approx(slow.makespan, rel=1e-9)
                lacking, size = rank_of(slow)
                assert quick.fits is not lacking
                assert not lacking or quick.lacking == pytest.approx(size)
                assert quick.busiest == int(np.argmax([d.busy for d in slow.devices]))
                compared += PASSES
    assert compared > 100


def toy(recomputed: float, cap: float | None, layers: int = 4, **changes: object) -> Problem:
    """Two devices, layers of 1 + 2 s that hold 4 bytes, or none and take ``recomputed`` seconds more."""
    full = Variant("full", {Pass.F: 1.0, Pass.I: 2.0 + recomputed}, 0.0, 0.0, 0.0)
    operators = tuple(
        Operator(
            f"layer.{k}.mlp",
            {Pass.F: 1.0, Pass.I: 2.0},
            (f"layer.{k - 1}.mlp",) if k else (),
            activation=4.0,
            variants=(full,),
            **changes,  # type: ignore[arg-type]
        )
        for k in range(layers)
    )
    kind = DeviceType("gpu")
    cluster = Cluster("c", tuple(Device(f"d{d}", "d", kind, memory=cap) for d in range(2)), {"gpu": kind})
    origin = MadeFrom("toy", rules="E=embed,t=layer.*,L=head")
    return Problem(Graph("g", Mode.TRAINING, 8, operators, made_from=origin), cluster, 8)


def of_order(problem: Problem, runtime: str, name: str = "1f1b", chunks: int = 1) -> float:
    search = search_of(problem, runtime)
    bounds: OrderBounds = search._bounds
    return bounds.of(name, chunks, Control())


def test_a_runtime_that_recomputes_all_layers_alike_mixes_nothing() -> None:
    """1F1B holds two microbatches on the first device: 16 bytes of two layers; with 8 all or none is recomputed."""
    assert of_order(toy(1.0, 8.0), "torchtitan") == pytest.approx(8 * 2 * 4 + 2 * 4)
    assert of_order(toy(1.0, 16.0), "torchtitan") == pytest.approx(8 * 2 * 3 + 2 * 3)
    # the first layer of every stage; each stage by itself
    assert of_order(toy(1.0, 8.0), "megatron") <= 8 * (3 + 4) + 7
    assert of_order(toy(1.0, 8.0), "torch") <= of_order(toy(1.0, 8.0), "megatron") + 1e-6


def test_first_layers_are_as_many_in_every_stage() -> None:
    """With 12 bytes the first device recomputes one of its two layers, so the second one does."""
    problem = toy(4.0, 8.0)
    alone = of_order(problem, "megatron")
    assert alone >= 8 * (3 + 7) * (1 - 1e-3)
    assert of_order(problem, "torch") < alone


def test_updates_wait_for_no_reduction_where_there_is_none() -> None:
    """Gradients are clipped, and nothing is reduced: the second device updates before the first one's last pass."""
    problem = toy(1.0, None, step={Pass.U: 2.0})
    clipped = Problem(
        Graph("g", Mode.TRAINING, 8, problem.operators, clip_gradients=True, made_from=problem.graph.made_from),
        problem.cluster,
        8,
    )
    assert of_order(clipped, "torchtitan") == of_order(problem, "torchtitan")
    search = search_of(clipped, "torchtitan")
    ran = search.run()
    assert ran is not None
    assert search.bound(ran.figures.makespan) <= ran.figures.makespan


def test_updates_of_one_layer_run_beside_the_reduction_of_the_next() -> None:
    """nanotron reduces after all passes; each update waits for its own reduction alone."""
    problem = toy(1.0, None, step={Pass.U: 2.0, Pass.R: 2.0})
    bound = of_order(problem, "nanotron")
    best, every = every_makespan(problem, RUNTIMES["nanotron"], "1f1b", 1, np.random.default_rng(0), 100)
    assert every
    assert bound == pytest.approx(8 * 6 + 6 + 2 * 2 + 2) or bound <= best
    assert bound <= best


def test_a_label_over_all_layers_may_stand_apart_on_one_device() -> None:
    """A V has its first and last stage on one device: embedding and head may share a matrix there."""
    problem = toy(1.0, None, layers=6)
    ends = (problem.operators[0].name, problem.operators[-1].name)
    tied = tuple(
        Operator(o.name, o.times, o.inputs, activation=4.0, colocate="tied" if o.name in ends else None)
        for o in problem.operators
    )
    tied_problem = Problem(Graph("g", Mode.TRAINING, 8, tied), problem.cluster, 8)
    best, _ = every_makespan(tied_problem, RUNTIMES["torchtitan"], "zbv", 2, np.random.default_rng(0), 100)
    assert np.isfinite(best)
    assert len(cut_for(tied_problem, RUNTIMES["torchtitan"]).segments.joined) == 1
    search = search_of(tied_problem, "torchtitan")
    assert ("zbv", 2) in search.orders
    assert search._bounds.of("zbv", 2, Control()) <= best


def test_first_layers_are_counted_without_what_stands_before_them() -> None:
    """An embedding is no layer: every stage has the same number of layers recomputed, and the plan fits."""
    plain = toy(1.0, 12.0, layers=9)
    embed = Operator("embed", {Pass.F: 0.5, Pass.I: 0.5}, activation=0.5)
    first = Operator(
        "layer.0.mlp", plain.operators[0].times, ("embed",), activation=4.0, variants=plain.operators[0].variants
    )
    graph = Graph(
        "g",
        Mode.TRAINING,
        8,
        (embed, first, *plain.operators[1:]),
        made_from=MadeFrom("toy", rules="E=embed,t=layer.*"),
    )
    search = search_of(Problem(graph, plain.cluster, 8), "megatron")
    ran = search.run()
    assert ran is not None
    assert ran.figures.fits
    way = ran.way
    assert way.layers is not None
    counts = [sum(u > 0 for u in stage[:n]) for stage, n in zip(way.stages, way.first, strict=True)]
    sizes = [sum(u > 0 for u in stage) for stage in way.stages]
    assert counts == [min(way.layers, size) for size in sizes]
    assert 0 < sum(counts) < sum(sizes)
    assert f"full in the first {way.layers} layers" in way.told or way.layers == 1
    assert search.bound(ran.figures.makespan) <= ran.figures.makespan * (1 + 1e-9)


def test_stages_of_a_program_are_as_uneven_as_memory_asks() -> None:
    """1F1B holds twice as much on the first of two devices, so it has fewer layers; nothing needs to be recomputed."""
    search = search_of(toy(4.0, 16.0, layers=6), "torchtitan")
    found = list(search._bounds.solutions("1f1b", 1, Control(), np.inf))
    assert found[0][0] == ("base",)
    assert found[0][1].cuts() == (0, 2, 6)
    ran = search.run()
    assert ran is not None
    assert ran.figures.makespan < 8 * 3 * 7


def test_what_is_held_for_no_time_takes_no_memory() -> None:
    """A head whose F and I take no time, and whose W does: its activation is gone when the next pass begins."""
    rng = np.random.default_rng((21, 222))
    problem = random_problem(rng)
    assert problem is not None
    least, _ = every_makespan(problem, RUNTIMES["torchtitan"], "zbv", 2, rng, 20)
    assert np.isfinite(least)
    assert of_order(problem, "torchtitan", "zbv", 2) <= least * (1 + 1e-7)


def test_first_layers_of_a_unit_of_several_are_no_part_of_it() -> None:
    """Embedding and head share a matrix, so all layers are one unit; Megatron may still recompute the first of them."""
    rng = np.random.default_rng((21, 652))
    problem = random_problem(rng)
    assert problem is not None
    least, every = every_makespan(problem, RUNTIMES["megatron"], "1f1b", 1, rng)
    assert every
    assert of_order(problem, "megatron") <= least * (1 + 1e-7)


def test_no_program_of_whole_layers_is_without_limits() -> None:
    """HiGHS 1.15.1 may never return from the presolve of an integer program whose columns have no upper limit."""
    search = search_of(toy(4.0, 16.0, layers=6), "megatron")
    assert np.isfinite(search._bounds.of("1f1b", 1, Control()))
    for program in search._bounds.programs.values():
        columns = [*program.column.values(), *program.whole]
        assert np.isfinite([program.model.upper[column] for column in columns]).all()

"""Labels and layouts: a label asks for one device, not for one stage."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from solver_problems import chain, operator, posed, random_problem, solved, unit_cluster

from planner.common.budget import Control
from planner.placement.fit import find_fit
from planner.placement.fit_model import FitModel
from planner.placement.layouts import family_placement, family_placements, stage_hosts
from planner.problem import Impossible, Operator, Placement, Problem
from planner.problem.partition import partition


def tied(layers: int, **more: float) -> list[Operator]:
    """An embedding, layers and a head as long as some of them; embedding and head share a matrix."""
    embed = operator("embed", times=(0.1, 0.1, 0.1), colocate="vocabulary", **more)
    between = [operator(f"l{k}", f"l{k - 1}" if k else "embed", **more) for k in range(layers)]
    head = operator("head", f"l{layers - 1}", times=(3.0, 3.0, 3.0), colocate="vocabulary", **more)
    return [embed, *between, head]


def loads(problem: Problem, placement: Placement) -> list[float]:
    """Seconds a microbatch of each device."""
    work = problem.duration.sum(axis=1)
    return [sum(work[i, d] for i, e in enumerate(placement.device_of[0]) if e == d) for d in range(problem.n_devices)]


def test_ends_of_a_chain_share_the_device_of_a_vshape() -> None:
    """There and back: first and last stage are on one device, so the label costs nothing."""
    problem = posed(*tied(14), devices=4, layout="vshape")
    (placement,) = family_placements(problem)
    assert problem.allows(placement.device_of[0])
    free = [operator(o.name, *o.inputs, times=tuple(o.times.values())) for o in tied(14)]
    assert placement.device_of == next(family_placements(posed(*free, devices=4, layout="vshape"))).device_of


def test_ends_of_a_chain_in_layouts_of_different_ends() -> None:
    """Proven where no cut of the order can serve, and four rounds there and back again do."""
    for layout in ("linear", "interleaved"):
        with pytest.raises(Impossible, match="stages"):
            list(family_placements(posed(*tied(14), devices=4, layout=layout)))
    found = list(family_placements(posed(*tied(14), devices=3, layout="wave")))
    assert [placement.origin for placement in found] == ["wave x4"]


def test_gathered_at_one_of_their_devices() -> None:
    """Three times a layer's work in the head, on three devices: a balance that no contiguous cut reaches."""
    problem = posed(*tied(6), devices=3)
    found = list(family_placements(problem))
    assert all(problem.allows(copy) for placement in found for copy in placement.device_of)
    best = min(found, key=lambda placement: max(loads(problem, placement)))
    assert best.origin == "linear, labels gathered"
    assert max(loads(problem, best)) == pytest.approx(9.3)
    plan = solved(problem, seconds=20.0)
    assert plan.makespan < 20.0, "27.3 on one device"


@pytest.mark.parametrize("layout", ["vshape", "wave", "interleaved"])
def test_partition_finds_what_enumeration_finds(layout: str) -> None:
    """The smallest largest load of a stage over all cuts whose labels are on one device each."""
    found = exact = 0
    for seed in range(250):
        problem = random_problem(seed, operators=8, devices=2)
        if problem is None or problem.n_devices < 2 or len(problem.groups) == problem.n_operators:
            continue
        n, hosts = problem.n_operators, stage_hosts(layout, range(2), 2 if layout != "wave" else 3)
        order, stages = problem.topological, partition(problem, hosts)
        best = np.inf
        for inner in combinations(range(1, n), len(hosts) - 1):
            cut = [order[a:b] for a, b in zip((0, *inner), (*inner, n), strict=True)]
            if problem.allows(_devices(cut, hosts)):
                best = min(best, _largest(problem, cut, hosts))
        if stages is None:
            continue  # a label cut between neighbours is left to ``all_cuts``
        found += 1
        assert problem.allows(_devices(stages, hosts)), seed
        assert best <= _largest(problem, stages, hosts) * (1 + 1e-9), seed
        if problem.segments.loose == problem.segments.operators:
            exact += 1
            assert _largest(problem, stages, hosts) == pytest.approx(best), seed
    assert found > 5 and exact > 0


def _devices(stages: object, hosts: list[tuple[int, ...]]) -> list[int]:
    device_of = {i: d for stage, (d,) in zip(stages, hosts, strict=True) for i in stage}  # type: ignore[call-overload]
    return [device_of[i] for i in range(len(device_of))]


def _largest(problem: Problem, stages: object, hosts: list[tuple[int, ...]]) -> float:
    work = problem.duration.sum(axis=1)
    return max(
        float(work[[i for i in stage if problem.on_comm[i] == stream], d].sum())
        for stage, (d,) in zip(stages, hosts, strict=True)  # type: ignore[call-overload]
        for stream in (False, True)
    )


def entangled(pairs: int, **more: float) -> list[Operator]:
    """Forward and backward chains of an inference graph, label k on their k-th operators; every third pair crossed."""
    name = [k + (k % 3 == 0) - (k % 3 == 1) for k in range(pairs)]
    forth = chain(pairs, times=(1.0,), **more)
    labelled = [operator(o.name, *o.inputs, times=(1.0,), colocate=f"class{k}", **more) for k, o in enumerate(forth)]
    back = [
        operator(f"b{k}", *([f"b{k - 1}"] if k else []), times=(2.0,), colocate=f"class{name[k]}", **more)
        for k in range(pairs)
    ]
    return labelled + back


def test_entangled_labels_are_cut_by_depth() -> None:
    """Circles of labels everywhere: no cut of the order, but labels in the order of their depth balance well."""
    problem = posed(*entangled(42), devices=6, training=False)
    placement = next(p for p in family_placements(problem) if "gathered" in p.origin)
    assert problem.allows(placement.device_of[0])
    assert max(loads(problem, placement)) <= 3 * 42 / 6 + 3.0
    crossing = sum(placement.device_of[0][i] != placement.device_of[0][j] for i in range(84) for j in problem.inputs[i])
    assert crossing <= 4 * 5, "neighbours stay together"


def test_a_large_graph_for_inference_fits_soon() -> None:
    """One row a device for the largest activation, not one for each operator: 800 operators on 6 devices."""
    operators = entangled(400, parameters=1.0, activation=0.01)
    problem = posed(*operators, devices=unit_cluster(6, memory=140.0), training=False)
    model = FitModel(problem)
    assert len(model.model.index) < 20 * problem.n_operators
    assert find_fit(problem, Control(10.0)) is not None
    with pytest.raises(Impossible, match="short"):
        find_fit(posed(*operators, devices=unit_cluster(6, memory=132.0), training=False), Control(10.0))


def test_hosts_that_a_label_cannot_share() -> None:
    """Bidirectional stages: the label's operators share a stage, in both copies."""
    problem = posed(*tied(4), devices=2, copies=2)
    assert family_placement(problem, "bidirectional", range(2), 1) is None
    found = [p for p in family_placements(problem) if p.copies == 2]
    assert found, "gathered"
    assert all(problem.allows(copy) for placement in found for copy in placement.device_of)

"""The bench of cases: its rivals are as strong as they claim to be, its goals and its page say what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import combinations_with_replacement
from pathlib import Path
from random import Random

import pytest

from case_studies.listed import at_most, beats_baselines, beats_rivals, cases, gap_at_most, idle_at_most, within
from case_studies.loads import loads, period
from case_studies.page import page, text
from case_studies.rivals import ORDERS, least_period, rivals
from case_studies.splits import Split, busiest_stage, even, layers, proportional
from planner.baselines import baseline_timetable
from planner.problem import Cluster, Device, DeviceType, Graph, Mode, NetworkLevel, Operator, Pass, Problem, Stream
from planner.problem.graph import ByDevice
from planner.problem.partition import atoms
from planner.timetable.figures import figures

ROOT = Path(__file__).resolve().parents[2]


def cluster(
    *speeds: str, exclusive: bool = False, level: NetworkLevel | None = None, memory: float | None = None
) -> Cluster:
    kinds = {name: DeviceType(name, memory=memory, exclusive_transfers=exclusive) for name in set(speeds)}
    devices = tuple(Device(f"d{k}", "d", kinds[name], memory=memory) for k, name in enumerate(speeds))
    return Cluster("tiny", devices, kinds, within_node=level)


def drawn(seed: int, exclusive: bool, mode: Mode) -> Problem:
    """A random graph of up to 7 operators on 3 devices of 2 kinds, with branches and outputs of all sizes."""
    draw = Random(seed)
    operators: list[Operator] = []
    for i in range(draw.randint(3, 7)):
        forward = ByDevice({"fast": draw.randint(1, 6), "slow": draw.randint(4, 15)})
        reads = tuple(f"o{j}" for j in range(i) if draw.random() < 0.5)
        stream = Stream.COMM if draw.random() < 0.25 else Stream.COMPUTE
        times = {Pass.F: forward, Pass.I: float(draw.randint(0, 4))}
        output = float(draw.randint(0, 8))
        operators.append(Operator(f"o{i}", times, reads, stream, output=output))
    kinds = ["fast", "slow", draw.choice(["fast", "slow"])]
    network = NetworkLevel(bandwidth=draw.choice([0.5, 2.0, 8.0]), latency=draw.choice([0.0, 0.5]))
    return Problem(Graph("drawn", mode, 3, tuple(operators)), cluster(*kinds, exclusive=exclusive, level=network), 3)


def by_hand(problem: Problem, devices: list[int], ends: tuple[int, ...]) -> float:
    """The busiest stage of a split as ``busiest_stage`` defines it, written out.

    Links of all devices are alike here, so it does not matter which of them a cut lies on.
    """
    pieces = atoms(problem)
    starts = (0, *ends)
    stages = [[i for piece in pieces[a:b] for i in piece] for a, b in zip(starts, (*ends, len(pieces)), strict=True)]
    ways = 2 if problem.training else 1
    worst = 0.0
    for k, (stage, d) in enumerate(zip(stages, devices, strict=True)):
        if not stage:
            continue
        earlier = {i for before in stages[:k] for i in before}
        later = {i for after in stages[k + 1 :] for i in after}
        enters = [i for i in earlier if set(problem.consumers[i]) & set(stage)]
        leaves = [i for i in stage if set(problem.consumers[i]) & later]
        borders = sum(problem.transfer(i, 0, 1) for i in enters + leaves) * ways if problem.exclusive[d] else 0.0
        work = problem.duration[stage, :, d].sum(axis=1)
        comm = problem.on_comm[stage]
        crossing = [i for i in earlier if set(problem.consumers[i]) & (set(stage) | later)]
        cut = sum(problem.transfer(i, 0, 1) for i in crossing)
        worst = max(worst, work[~comm].sum() + borders, work[comm].sum(), cut)
    return float(worst)


def ends_of(problem: Problem, split: Split) -> tuple[list[int], tuple[int, ...]]:
    """The devices that a split uses and where its stages end, in segments, the last one left out."""
    segment_of = {i: a for a, piece in enumerate(atoms(problem)) for i in piece}
    return list(split.devices), tuple(1 + max(segment_of[i] for i in stage) for stage in split.stages[:-1])


@pytest.mark.parametrize("mode", [Mode.INFERENCE, Mode.TRAINING])
@pytest.mark.parametrize("exclusive", [False, True])
def test_the_dynamic_program_finds_the_least_busiest_stage(exclusive: bool, mode: Mode) -> None:
    """Against all cuts, empty stages included."""
    for seed in range(40):
        problem = drawn(seed, exclusive, mode)
        devices, n = list(range(problem.n_devices)), len(atoms(problem))
        least = min(by_hand(problem, devices, ends) for ends in combinations_with_replacement(range(n + 1), 2))
        found = busiest_stage(problem, devices)
        assert found is not None
        assert sorted(i for stage in found.stages for i in stage) == list(range(problem.n_operators))
        assert by_hand(problem, *ends_of(problem, found)) == pytest.approx(least), seed


def chain(count: int, seconds: float = 1.0, **sizes: float) -> tuple[Operator, ...]:
    return tuple(
        Operator(f"layer.{i}", {Pass.F: seconds}, (f"layer.{i - 1}",) if i else (), **sizes) for i in range(count)
    )


def test_the_dynamic_program_can_stay_within_memory() -> None:
    """One device takes everything in the least time, but memory allows two layers and their activations on each."""
    operators = tuple(
        Operator(o.name, {Pass.F: ByDevice({"fast": 1.0, "slow": 9.0})}, o.inputs, parameters=1.0, activation=1.0)
        for o in chain(4)
    )
    graph = Graph("chain", Mode.INFERENCE, 1, operators)
    problem = Problem(graph, cluster("fast", "slow", memory=4.0), 1)
    roomy, small = busiest_stage(problem, [0, 1]), busiest_stage(problem, [0, 1], in_memory=True)
    assert roomy is not None and [len(stage) for stage in roomy.stages] == [4]
    assert small is not None and [len(stage) for stage in small.stages] == [2, 2]
    assert busiest_stage(Problem(graph, cluster("fast", memory=4.0), 1), [0], in_memory=True) is None


def test_layers_are_copies_of_blocks_and_the_rest_joins_them() -> None:
    names = ["embed", "norm", "layer.0.attn", "layer.0.mlp", "layer.1.attn", "layer.1.mlp", "pool", "block7", "head"]
    operators = tuple(Operator(n, {Pass.F: 1.0}, (names[k - 1],) if k else ()) for k, n in enumerate(names))
    problem = Problem(Graph("named", Mode.INFERENCE, 1, operators), cluster("a", "a"), 1)
    assert [[names[i] for i in layer] for layer in layers(problem)] == [
        ["embed", "norm", "layer.0.attn", "layer.0.mlp"],
        ["layer.1.attn", "layer.1.mlp", "pool"],
        ["block7", "head"],
    ]


def test_even_and_proportional_splits() -> None:
    """Ten layers on a device of speed 1 and two of speed 2: 3, 4, 3 layers; in proportion 2, 4, 4."""
    times = ByDevice({"fast": 1.0, "slow": 2.0})
    operators = tuple(Operator(o.name, {Pass.F: times}, o.inputs) for o in chain(10))
    problem = Problem(Graph("ten", Mode.INFERENCE, 1, operators), cluster("slow", "fast", "fast"), 1)
    for make, sizes in ((even, [3, 4, 3]), (proportional, [2, 4, 4])):
        split = make(problem, [0, 1, 2])
        assert split is not None and [len(stage) for stage in split.stages] == sizes
    few = Problem(Graph("two", Mode.INFERENCE, 1, operators[:2]), cluster("slow", "fast", "fast"), 1)
    split = proportional(few, [0, 1, 2])
    assert split is not None and (len(split.stages), split.devices) == (2, (0, 1))


def test_a_split_that_a_device_cannot_run_is_none() -> None:
    operators = tuple(Operator(o.name, {Pass.F: ByDevice({"fast": 1.0})}, o.inputs) for o in chain(4))
    problem = Problem(Graph("picky", Mode.INFERENCE, 1, operators), cluster("fast", "slow"), 1)
    assert even(problem, [0, 1]) is None
    found = busiest_stage(problem, [0, 1])
    assert found is not None and found.devices == (0,)


def test_loads_count_an_output_once_a_device_and_both_ends_where_transfers_are_exclusive() -> None:
    """a (3 bytes) is read twice on d1 and once on d2; in training the gradients come back."""
    operators = (
        Operator("a", {Pass.F: 5.0, Pass.I: 1.0}, output=3.0),
        *(Operator(name, {Pass.F: 2.0, Pass.I: 1.0}, ("a",)) for name in ("b", "c", "d")),
    )
    place = (0, 1, 1, 2)
    level = NetworkLevel(bandwidth=1.0)
    for mode, exclusive, expected in (
        (Mode.INFERENCE, False, {"d0 compute": 5.0, "d1 compute": 4.0, "d2 compute": 2.0}),
        (Mode.INFERENCE, True, {"d0 compute": 11.0, "d1 compute": 7.0, "d2 compute": 5.0}),
        (Mode.TRAINING, True, {"d0 compute": 18.0, "d1 compute": 12.0, "d2 compute": 9.0}),
    ):
        problem = Problem(
            Graph("fork", mode, 1, operators), cluster("x", "x", "x", exclusive=exclusive, level=level), 1
        )
        found = loads(problem, place)
        assert {name: found[name] for name in expected} == expected
        assert found["d0 -> d1"] == found["d0 -> d2"] == 3.0
        assert ("d1 -> d0" in found) == (mode is Mode.TRAINING)
        assert period(problem, place) == max(found.values())


def test_rivals_are_the_baselines_where_stages_are_equal() -> None:
    """Eight equal layers on four devices: every split is the baselines' own, so the best order is too."""
    operators = tuple(
        Operator(o.name, {Pass.F: 1.0, Pass.I: 1.0, Pass.W: 1.0}, o.inputs, parameters=1.0, activation=1.0)
        for o in chain(8)
    )
    problem = Problem(Graph("eight", Mode.TRAINING, 6, operators), cluster(*["a"] * 4), 6)
    best = min(figures(problem, baseline_timetable(name, problem)).makespan for name in ORDERS)
    rows = rivals(problem)
    assert [row["split"] for row in rows] == ["even", "by speed", "dynamic program"]
    assert {row["makespan"] for row in rows} == {best}
    assert {row["period"] for row in least_period(problem)} == {6.0}


def test_a_rival_that_fits_goes_before_a_shorter_one_that_does_not() -> None:
    """With input gradients of 2, ZB2P takes 35 with 8 activations, ZB1P 38 with 4."""
    operators = tuple(
        Operator(o.name, {Pass.F: 1.0, Pass.I: 2.0, Pass.W: 1.0}, o.inputs, activation=1.0, held_for_weight_grad=1.0)
        for o in chain(4)
    )
    graph = Graph("tight", Mode.TRAINING, 8, operators)
    free = rivals(Problem(graph, cluster(*["a"] * 4), 8))[0]
    tight = rivals(Problem(graph, cluster(*["a"] * 4, memory=4.0), 8))[0]
    none = rivals(Problem(graph, cluster(*["a"] * 4, memory=0.5), 8))[0]
    assert (free["order"], free["makespan"], free["peak_memory"], free["fits"]) == ("zb2p", 35.0, 8.0, True)
    assert (tight["order"], tight["makespan"], tight["peak_memory"], tight["fits"]) == ("zb1p", 38.0, 4.0, True)
    assert (none["order"], none["makespan"], none["fits"]) == ("zb2p", 35.0, False)


def test_unlike_devices_are_tried_from_either_end() -> None:
    """The one operator that is slow on one kind stands at the end: the reversed order of devices serves it."""
    times = [ByDevice({"good": 1.0, "bad": 1.0})] * 3 + [ByDevice({"good": 1.0, "bad": 50.0})]
    operators = tuple(Operator(o.name, {Pass.F: t}, o.inputs) for o, t in zip(chain(4), times, strict=True))
    problem = Problem(Graph("turned", Mode.INFERENCE, 4, operators), cluster("good", "bad"), 4)
    assert {row["devices"] for row in rivals(problem) if row["split"] == "even"} == {"reversed"}


# -- goals and page -------------------------------------------------------------------------------------------

ROW = {
    "config": "deepseek-v3-units",
    "flags": ["--copies", "2"],
    "limit": 60.0,
    "by": "makespan",
    "exit": 0,
    "wall_seconds": 61.0,
    "peak_rss": 3.5e9,
    "verified": True,
    "plan": {"makespan": 3.0, "lower_bound": 2.7, "gap": 0.1, "bubble_ratio": 0.2, "status": "feasible"}
    | {"peak_memory": 52e9, "copies": 2, "tasks": 6400, "period": 0.5, "microbatches": 20},
    "baselines": [
        {"name": "dualpipe", "makespan": 4.0, "bubble_ratio": 0.4, "peak_memory": 52e9, "fits": True},
        {"name": "zb2p", "makespan": 2.0, "bubble_ratio": 0.1, "peak_memory": 90e9, "fits": False},
    ],
    "cpsat": {"makespan": 3.25, "bound": 2.0, "status": "feasible", "seconds": 60.0},
    "rivals": [
        {"split": "even", "order": "zb1p", "makespan": 5.0, "period": 0.4, "fits": True},
        {"split": "dynamic program", "order": "zb2p", "makespan": 2.5, "period": 0.4, "fits": False},
    ],
}


@pytest.mark.parametrize(
    ("goal", "reached"),
    [
        (gap_at_most(0.1), True),
        (gap_at_most(0.09), False),
        (at_most(3.0, "three"), True),
        (at_most(2.9, "less"), False),
        (idle_at_most(0.375, "dualpipe"), True),  # 0.6 s of 1.6 s
        (idle_at_most(0.37, "dualpipe"), False),
        (idle_at_most(0.5, "1f1b"), None),
        (beats_baselines(), True),  # what does not fit is no rival
        (beats_baselines("zb2p"), None),
        (beats_rivals("even"), True),
        (beats_rivals("dynamic program"), None),
        (within(61, 3.5), True),
        (within(60.9), False),
        (within(100, 3.4), False),
    ],
)
def test_goals(goal: object, reached: bool | None) -> None:
    assert goal.reached(ROW) is reached
    assert goal.reached({**ROW, "plan": None}) is None


def test_by_period_the_period_counts() -> None:
    by_period = {**ROW, "by": "period"}
    assert at_most(0.5, "").reached(by_period) is True and at_most(0.4, "").reached(by_period) is False
    assert beats_rivals("even").reached(by_period) is False


def test_page_shows_rows_goals_and_what_was_not_run() -> None:
    broken = {key: value for key, value in ROW.items() if key not in ("plan", "verified")} | {"error": "no luck"}
    rows = {"deepseek, two copies": ROW, "deepseek, one copy": broken}
    shown = page({"rows": rows}, cases())
    assert "| 3 | 2.7 | 10.00% | 20.00% | 2 | 48.43 GiB | 4 dualpipe | 5 zb1p | - | 2.5 zb2p* | 3.25 |" in shown
    assert "deepseek, one copy: no luck" in shown
    assert "| deepseek, two copies | idle time at most 0.55 of dualpipe's | yes (0.375) |" in shown
    assert (
        "Not run: deepseek, real bytes; deepseek, real bytes, M = 40; " in shown
        and "`deepseek-v3-units --copies 2 --time-limit 60`" in shown
    )
    assert "half of DualPipe's idle time: 3.238 s: yes" in text({"rows": rows}, cases())


def test_every_case_names_a_config_and_a_goal() -> None:
    assert len({case.name for case in cases()}) == len(cases())
    for case in cases():
        assert (ROOT / "configs" / case.config / "graph.yaml").is_file() and case.goals


def test_the_script_runs_a_case_keeps_it_and_writes_the_page(tmp_path: Path) -> None:
    kept, shown = tmp_path / "rows.json", tmp_path / "cases.md"
    script = [sys.executable, str(ROOT / "scripts" / "cases.py"), "--json", str(kept), "--page", str(shown)]
    run = subprocess.run(
        [*script, "--only", "piper*", "--time-limit", "2"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    row = json.loads(kept.read_text(encoding="utf-8"))["rows"]["piper, bert32"]
    assert row["verified"] and row["plan"]["tasks"] == 3232 and row["peak_rss"] > 1e7 and row["wall_seconds"] > 1
    assert {b["name"] for b in row["baselines"]} >= {"1f1b", "dualpipe"} and len(row["rivals"]) == 3
    assert "| piper, bert32 |" in shown.read_text(encoding="utf-8") and "piper, bert32" in run.stdout

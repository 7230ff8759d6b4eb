"""Configs made from published measurements add up to what their sources add up to.

The totals stand here as the sources give them (or as their rows add up), not as the configs' generator computes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from configurations.tables import read_table
from planner.baselines import BASELINES, NotApplicable, baseline_timetable
from planner.files import read_cluster, read_graph
from planner.importers.document import to_yaml
from planner.importers.measured.msr import msr
from planner.importers.measured.pipedream import pipedream
from planner.problem import ByDevice, Mode, Pass, PassTime, Problem
from planner.timetable.figures import figures

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
MIB = 2**20


def problem_of(name: str) -> Problem:
    graph = read_graph(CONFIGS / name / "graph.yaml")
    return Problem(graph, read_cluster(CONFIGS / name / "cluster.yaml"), graph.microbatches)


def work(problem: Problem, device: str) -> tuple[float, float, float]:
    """Seconds of a microbatch in F, I and W, if the device ran all of it."""
    f, i, w = problem.duration[:, :, problem.cluster.index[device]].sum(axis=0)
    return float(f), float(i), float(w)


def fitting(problem: Problem, names: Iterable[str] = BASELINES) -> set[str]:
    """Those of the baselines that respect the devices' memory."""
    found = set()
    for name in names:
        try:
            timetable = baseline_timetable(name, problem)
        except NotApplicable:
            continue
        if figures(problem, timetable).fits:
            found.add(name)
    return found


# -- DeepSeek-V3 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "makespan"), [("dualpipe", 4.0118), ("dualpipe-unfused", 3.9752)])
def test_in_units_dualpipe_takes_the_whole_cap(name: str, makespan: float) -> None:
    """52 units: 8 layer copies of 2 and 36 activations of 1; 3990 ms with the best packing of every fused chunk."""
    problem = problem_of("deepseek-v3-units")
    found = figures(problem, baseline_timetable(name, problem))
    assert found.peak_memory == 52e9 == problem.cap[0] and found.fits
    assert found.makespan == pytest.approx(makespan, abs=5e-4)
    assert 3.97 < found.makespan < 4.053


def test_in_units_a_layer_is_on_one_device_and_a_transfer_takes_its_latency() -> None:
    problem = problem_of("deepseek-v3-units")
    assert [len(group) for group in problem.groups] == [4] * 32
    assert problem.transfer(3, 0, 1) == problem.transfer(0, 5, 2) == 1.2e-3
    layer = slice(0, 4)
    assert (problem.parameters[layer].sum(), problem.activation[layer].sum()) == (2e9, 1e9)
    compute = problem.duration[~problem.on_comm, :, 0].sum() * 20 / 8
    assert compute == pytest.approx(2.48572) and problem.n_devices == 8


def test_full_deepseek_times_around_the_moe_layers() -> None:
    """A dense MLP has the FLOP of the experts' nine rows; the head 2.338 times that, at half the rate."""
    problem = problem_of("deepseek-v3-61-layers")
    of = {o.name: problem.duration[i, :, 0] for i, o in enumerate(problem.operators)}
    assert 18432 == 9 * 2048
    assert of["dense.0.mlp"] == pytest.approx(of["layer.0.experts"])
    assert of["dense.2.attention"] == pytest.approx(of["layer.57.attention"])
    flops = 129280 * 7168 / (9 * 3 * 7168 * 2048)
    assert of["head"] == pytest.approx(2 * flops * of["layer.0.experts"])
    assert of["embed"] == pytest.approx([4 * 4096 * 7168 / 3.35e12, 0, 10 * 4096 * 7168 / 3.35e12])
    names = [o.name for o in problem.operators]
    assert names[0] == "embed" and names[-1] == "head"
    assert problem.inputs == ((), *((i,) for i in range(len(names) - 1)))


def test_full_deepseek_weights_are_those_of_the_model() -> None:
    """671.03e9 without the prediction module: shared parts stand on every rank, 4 of 256 experts on one of 64."""
    problem = problem_of("deepseek-v3-61-layers")
    of = dict(zip((o.name for o in problem.operators), problem.parameters, strict=True))
    expert, shared, router = 3 * 7168 * 2048, 1, 256 * 7168
    kept = 2 * 7168 + 1536 + 512
    attention = (of["dense.0.attention"] - kept * (6 + 8 / 64)) / (5 + 8 / 64)
    dense = of["dense.0.mlp"] / (5 + 8 / 64)
    table = of["embed"] / (6 + 8 / 64)
    assert of["head"] == of["embed"]
    weights = 2 * table + 61 * (attention + kept) + 3 * dense + 58 * (router + (256 + shared) * expert)
    assert weights == pytest.approx(671.03e9, rel=1e-4)
    assert of["layer.0.experts"] == 4 * expert * 13 + expert * (5 + 8 / 64)


def test_only_v_half_and_v_min_fit_full_deepseek() -> None:
    problem = problem_of("deepseek-v3-61-layers")
    assert fitting(problem) == {"v-half", "v-min"}
    # One microbatch in flight would fit many times over: a plan exists.
    assert problem.parameters.sum() + 4 * problem.activation.sum() < problem.cap.sum()


# -- T5-11B ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("devices", [4, 8])
def test_t5_adds_up_to_acesos_profile(devices: int) -> None:
    """243,159.013 us forward, 373,453.829 us backward, 5,428.814 MiB of weights; recomputed parts run F twice."""
    problem = problem_of(f"t5-11b-v100x{devices}")
    assert problem.n_devices == devices
    forward, input_grad, weight_grad = work(problem, problem.cluster.devices[0].name)
    again = sum(
        problem.duration[i, 0, 0]
        for i, o in enumerate(problem.operators)
        if o.name.split(".")[-1].removesuffix("-1").removesuffix("-2")
        in ("attention-score", "attention-softmax", "attention-dropout")
    )
    assert again == pytest.approx(24 * (2649.785 + 196.566 + 681.761) * 1e-6)
    assert forward == pytest.approx(243159.013e-6)
    assert input_grad + weight_grad - again == pytest.approx(373453.829e-6)
    assert problem.parameters.sum() == pytest.approx(8 * 5428.814 * MIB, rel=1e-6)


def test_t5_encoder_is_read_by_every_decoder_layer() -> None:
    problem = problem_of("t5-11b-v100x4")
    index = problem.graph.index
    readers = [problem.operators[i].name for i in problem.consumers[index["enc-final-layernorm"]]]
    assert readers == [f"decoder.{k}.attention-qkv-2" for k in range(24)]
    assert [problem.operators[i].name for i, reads in enumerate(problem.inputs) if not reads] == [
        "encoder-embedding",
        "decoder-embedding",
    ]
    assert sum(map(len, problem.inputs)) == 843
    # Weights have both gradients of one length; an embedding has no input gradient; the rest no weight gradient.
    for i, operator in enumerate(problem.operators):
        assert (Pass.W in operator.times) == (operator.parameters > 0)
        if operator.parameters > 0:
            expected = 0 if "embedding" in operator.name else problem.duration[i, 2, 0]
            assert problem.duration[i, 1, 0] == pytest.approx(expected, rel=1e-6)


def test_1f1b_and_zero_bubble_fit_t5() -> None:
    names = ("1f1b", "zb1p", "zbv")
    for config in ("t5-11b-v100x4", "t5-11b-v100x8"):
        assert fitting(problem_of(config), names) == set(names)


# -- msr-fiddle/dnn-partitioning ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "edges", "forward", "backward", "memory"),
    [("msr-bert24", 110, 92.406, 125.407, 3_649_649_184), ("msr-resnet50", 386, 201.45, 260.931, 38_821_912_904)],
)
def test_msr_graphs_have_the_sources_totals(
    name: str, edges: int, forward: float, backward: float, memory: int
) -> None:
    problem = problem_of(name)
    assert problem.graph.mode is Mode.INFERENCE
    assert sum(map(len, problem.inputs)) == edges
    of = problem.duration[:, 0, :]
    is_backward = np.array([o.name.endswith("grad") for o in problem.operators])
    assert is_backward.sum() == len(is_backward) / 2
    assert of[~is_backward, 0].sum() * 1e3 == pytest.approx(forward)
    assert of[is_backward, 0].sum() * 1e3 == pytest.approx(backward)
    assert of[:, 6] == pytest.approx(10 * of[:, 0])
    assert problem.parameters.sum() == memory


@pytest.mark.parametrize("name", ["msr-bert24", "msr-resnet50"])
def test_msr_devices_pay_as_the_source_says(name: str) -> None:
    """Six accelerators whose transfers are exclusive, one CPU that pays for none; a node and its gradient together."""
    problem = problem_of(name)
    assert problem.exclusive.tolist() == [True] * 6 + [False]
    assert problem.cap[:6].tolist() == [17_185_374_208] * 6 and problem.cap[6] == np.inf
    names = [o.name for o in problem.operators]
    assert {tuple(sorted(names[i] for i in group)) for group in problem.groups} == {
        (label, f"{label}grad") for label in names if not label.endswith("grad")
    }


def test_msr_hops_take_what_the_edges_cost() -> None:
    """The cost is that of the forward output, also for a gradient of another size."""
    problem = problem_of("msr-bert24")
    index = problem.graph.index
    for label, milliseconds in (("node5", 0.001953125), ("node28grad", 0.001953125), ("node30grad", 125018128 / 2**31)):
        assert problem.transfer(index[label], 0, 1) * 1e3 == pytest.approx(milliseconds, rel=1e-9)
        assert problem.transfer(index[label], 6, 2) * 1e3 == pytest.approx(milliseconds, rel=1e-9)
    assert problem.transfer(index["node4grad"], 0, 1) == 0


# -- PipeDream, Piper, Sailor ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "forward", "backward", "weights", "edges"),
    [
        ("pipedream-vgg16", 251.874, 438.633, 553_430_176, 41),
        ("pipedream-gnmt", 33.533, 55.883, 775_063_808, 58),
    ],
)
def test_pipedream_profiles_add_up(name: str, forward: float, backward: float, weights: int, edges: int) -> None:
    problem = problem_of(name)
    f, i, w = work(problem, "gpu0")
    assert (f * 1e3, (i + w) * 1e3) == (pytest.approx(forward), pytest.approx(backward))
    assert problem.parameters.sum() == 3 * weights
    assert sum(map(len, problem.inputs)) == edges
    assert fitting(problem, ("1f1b", "zb1p")) == {"1f1b", "zb1p"}


def test_piper_adds_up() -> None:
    problem = problem_of("piper-bert32")
    assert sum(work(problem, "gpu0")) == pytest.approx(0.972864, abs=1e-6)
    assert problem.parameters.sum() == 401_648_640 + 32 * 353_994_240 + 29_498_880
    assert problem.activation.sum() == 1_982_464 + 32 * 606_478_336 + 31_457_280
    assert problem.transfer(3, 0, 1) == pytest.approx(31_457_280 / 25e9 + 1e-5)


@pytest.mark.parametrize(
    ("name", "slow", "fast", "weights", "recomputed"),
    [
        ("sailor-llama3-8b", (5.6294, 11.127), (1.573265, 3.102825), 35_191_816_192, True),
        ("sailor-opt350", (0.767907, 1.841836), (0.213916, 0.56003), 1_629_724_672, False),
    ],
)
def test_sailor_adds_up_on_both_kinds_of_gpu(
    name: str, slow: tuple[float, float], fast: tuple[float, float], weights: int, recomputed: bool
) -> None:
    problem = problem_of(name)
    assert [len(members) for members in problem.device_classes] == [4, 4]
    blocks = [i for i, o in enumerate(problem.operators) if o.name.startswith("block")]
    for device, (forward, backward) in ((0, slow), (4, fast)):
        f, i, w = work(problem, problem.cluster.devices[device].name)
        again = problem.duration[blocks, 0, device].sum() if recomputed else 0.0
        assert f == pytest.approx(forward, abs=2e-6)
        assert i + w - again == pytest.approx(backward, abs=2e-6)
    assert problem.parameters.sum() == 4 * weights
    assert len({d.node for d in problem.cluster.devices}) == 2
    assert problem.transfer(1, 0, 4) > 5 * problem.transfer(1, 0, 1)
    assert fitting(problem, ("1f1b",)) == {"1f1b"}


# -- size -----------------------------------------------------------------------------------------------------


def test_the_large_config_has_the_tasks_and_the_memory_it_claims() -> None:
    problem = problem_of("large-64x4")
    tasks = int(problem.has_pass.sum())
    assert tasks * problem.microbatches == 40_960 and tasks * 160 == 102_400
    assert len({d.node for d in problem.cluster.devices}) == 4
    assert figures(problem, baseline_timetable("1f1b", problem)).fits


# -- the importers, on the whole of these files ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["vgg16", "gnmt"])
def test_importing_the_profile_gives_the_config(name: str, tmp_path: Path) -> None:
    """The rows of the source table as PipeDream writes them: the same operators, by the same rules."""
    rows = read_table(f"pipedream_{name}")
    lines = [
        f"{r['node']} -- {r['kind']} -- forward_compute_time={r['forward']}, backward_compute_time={r['backward']}, "
        f"activation_size={r['activation']}, parameter_size={r['parameters']}"
        for r in reversed(rows)
    ]
    lines += [f"\t{r['node']} -- {reader}" for r in rows for reader in r["read_by"].split()]
    (tmp_path / "graph.txt").write_text("\n".join(lines), encoding="utf-8")
    text = to_yaml(pipedream(tmp_path / "graph.txt", microbatches=16))
    assert same(text, tmp_path, f"pipedream-{name}")


@pytest.mark.parametrize("name", ["bert24", "resnet50"])
def test_importing_the_placement_problem_gives_the_config(name: str, tmp_path: Path) -> None:
    rows = read_table(f"msr_{name}_training")
    nodes = [
        {"id": int(r["id"]), "name": r["name"], "supportedOnFpga": 1, "size": float(r["memory"])}
        | {"fpgaLatency": float(r["acc"]), "cpuLatency": 10 * float(r["acc"])}
        | {"isBackwardNode": int(r["pass"] == "B"), "colorClass": int(r["group"])}
        for r in rows
    ]
    edges = [
        {"sourceId": int(r["id"]), "destId": int(reader), "cost": float(r["output"]) / 2**31}
        | {"size": float(r["output"])}
        for r in rows
        for reader in r["read_by"].split()
    ]
    document = {"maxSizePerFPGA": 17185374208.0, "maxFPGAs": 6, "maxCPUs": 1, "nodes": nodes, "edges": edges}
    (tmp_path / "file.json").write_text(json.dumps(document), encoding="utf-8")
    graph, cluster = msr(tmp_path / "file.json")
    assert same(to_yaml(graph), tmp_path, f"msr-{name}")
    body = [line for line in cluster.splitlines() if line[0] != "#" and not line.startswith("name:")]
    config = (CONFIGS / f"msr-{name}" / "cluster.yaml").read_text(encoding="utf-8").splitlines()
    assert body == [line for line in config if line[0] != "#" and not line.startswith("name:")]


def same(text: str, folder: Path, config: str) -> bool:
    """Whether a graph has the operators of a config, but for the spelling of labels and the last bit of a time."""
    (folder / "graph.yaml").write_text(text, encoding="utf-8")
    graphs = [read_graph(folder / "graph.yaml"), read_graph(CONFIGS / config / "graph.yaml")]
    found = []
    for graph in graphs:
        labels = {o.colocate: str(k) for k, o in reversed(list(enumerate(graph.operators)))}
        times = [{which: rounded(cost) for which, cost in o.times.items()} for o in graph.operators]
        plain = [replace(o, origin=None, colocate=labels[o.colocate], times={}) for o in graph.operators]
        found.append((plain, times))
    return found[0] == found[1] and len({(g.mode, g.microbatches) for g in graphs}) == 1


def rounded(cost: PassTime) -> object:
    if isinstance(cost, ByDevice):
        return {name: round(seconds, 15) for name, seconds in cost.seconds.items()}
    return cost

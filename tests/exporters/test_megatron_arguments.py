"""Megatron's arguments from the origin of a graph, and the nearest plan where Megatron cannot run the plan's own."""

from __future__ import annotations

import itertools
import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from launch_samples import layers, made, one_at_a_time, planned

from planner.api import read_problem
from planner.commands.app import main
from planner.exporters import CannotExport, Exported
from planner.exporters.balanced import POWER, balanced
from planner.exporters.layers import layers_of, parse_rules
from planner.exporters.megatron import MegatronOptions, megatron
from planner.exporters.zero import with_zero_1
from planner.problem import Problem
from planner.problem.made_from import MadeFrom


def flags(exported: Exported) -> dict[str, str | None]:
    """Flags by name; None where one has no value."""
    found: dict[str, str | None] = {}
    for line in exported.text.splitlines():
        flag, *values = shlex.split(line)
        found[flag] = " ".join(values) if values else None
    return found


def exported(problem: Problem, **options: Any) -> Exported:
    return megatron(planned(problem), problem, None, MegatronOptions(**options))


def test_a_model_without_experts() -> None:
    """Every line of the file, in order: 3 sequences x 4 replicas x 8 microbatches are 96."""
    problem = made(layers(6), 4, tensor=2, context=2, data=4, micro_batch=3)
    assert exported(problem).text.splitlines() == [
        "--tensor-model-parallel-size 2",
        "--sequence-parallel",
        "--context-parallel-size 2",
        "--pipeline-model-parallel-size 4",
        "--pipeline-model-parallel-layout 'Et|(tt|)*2tL'",
        "--num-layers 6",
        "--seq-length 4096",
        "--micro-batch-size 3",
        "--global-batch-size 96",
        "--bf16",
        "--use-distributed-optimizer",
        "--overlap-grad-reduce",
        "--overlap-param-gather",
        "--clip-grad 0.0",
        "--untie-embeddings-and-output-weights",
    ]


@pytest.mark.parametrize(
    ("of", "with_value", "without"),
    [
        ({}, {"--tensor-model-parallel-size": "1"}, ["--sequence-parallel", "--overlap-grad-reduce", "--num-experts"]),
        (
            {"zero": 0, "data": 2},
            {"--overlap-grad-reduce": None},
            ["--use-distributed-optimizer", "--overlap-param-gather"],
        ),
        ({"context": 2}, {"--overlap-grad-reduce": None, "--overlap-param-gather": None}, []),
        ({"tied": True}, {}, ["--untie-embeddings-and-output-weights"]),
        ({"precision": "fp32"}, {}, ["--bf16", "--fp8-format"]),
        ({"precision": "fp8"}, {"--bf16": None, "--fp8-format": "e4m3", "--fp8-param-gather": None}, []),
        ({"precision": "fp8", "zero": 0}, {"--fp8-recipe": "blockwise"}, ["--fp8-param-gather"]),
        (
            {"experts": 16, "expert": 4, "data": 4, "tensor": 2},
            {
                "--num-experts": "16",
                "--expert-model-parallel-size": "4",
                "--expert-tensor-parallel-size": "2",
                "--moe-token-dispatcher-type": "alltoall",
            },
            [],
        ),
        ({"experts": 16}, {"--expert-model-parallel-size": "1"}, ["--moe-token-dispatcher-type"]),
        ({"sequence": None}, {"--micro-batch-size": "1", "--global-batch-size": "8"}, ["--seq-length"]),
    ],
)
def test_each_figure_of_the_origin(of: dict[str, Any], with_value: dict[str, str | None], without: list[str]) -> None:
    found = flags(exported(made(layers(6), 4, **of)))
    assert {flag: found[flag] for flag in with_value} == with_value
    assert not set(without) & set(found)


def test_gradients_that_are_clipped() -> None:
    problem = made(layers(6), 4)
    clipped = replace(problem, graph=replace(problem.graph, clip_gradients=True))
    assert flags(exported(clipped))["--clip-grad"] == "1.0"


def test_the_arguments_stand_in_the_document() -> None:
    document = json.loads(exported(made(layers(6), 4, tensor=2, data=2)).beside[".json"])
    told = document["arguments"]
    assert (told["tensor_model_parallel_size"], told["sequence_parallel"], told["global_batch_size"]) == (2, True, 16)
    assert told["pipeline_model_parallel_layout"] == document["pipeline_model_parallel_layout"]


def test_the_number_of_gpus_is_said() -> None:
    notes = exported(made(layers(6), 4, tensor=2, context=3, data=5)).notes
    assert any(note.startswith("120 GPUs: 4 pipeline ranks of 30 (tensor 2 x context 3 x data 5)") for note in notes)


def test_a_graph_by_hand_says_what_is_missing() -> None:
    problem = made(layers(6), 4)
    plan = planned(problem)
    by_hand = replace(problem, graph=replace(problem.graph, made_from=None))
    for given, words in ((by_hand, "planner import hf writes it"), (None, "--graph GRAPH --cluster CLUSTER")):
        found = megatron(plan, given, None)
        assert list(flags(found)) == [
            "--pipeline-model-parallel-size",
            "--pipeline-model-parallel-layout",
            "--num-layers",
        ]
        (note,) = (note for note in found.notes if "is missing" in note)
        assert words in note and "--tensor-model-parallel-size" in note and "--global-batch-size" in note


# -- its own layers -----------------------------------------------------------------------------------------


def test_one_module_of_prediction_is_one_layer() -> None:
    """All of its operators but the head are one layer; with numbers there are as many as numbers."""
    problem = made(layers(5, "mtp_join", "mtp_attn", "mtp_mlp", "mtp_head"), 2, mtp=1)
    found = exported(problem)
    assert flags(found)["--mtp-num-layers"] == "1"
    assert flags(found)["--pipeline-model-parallel-layout"] == "Et*4|tmL"
    stage = json.loads(found.beside[".json"])["stages"][1]["layers"][1:]
    assert [layer["operators"] for layer in stage] == [["mtp_join", "mtp_attn", "mtp_mlp"], ["mtp_head", "head"]]
    two = layers_of(["mtp0_join", "mtp0_attn", "mtp1_join", "mtp12_attn"], parse_rules("m=mtp*"))
    assert [layer.name for layer in two] == ["mtp0", "mtp1", "mtp12"]


def test_gathered_weights_belong_to_their_operator() -> None:
    names = ["embed_weights", "embed", "layer.0.attn_weights", "layer.0.attn", "mtp_head_weights", "mtp_head", "head"]
    found = layers_of(names, parse_rules("E=embed,t=layer.*,L=mtp*_head,m=mtp*,L=head"), every_rule=False)
    assert [(layer.kind, layer.operators) for layer in found] == [
        ("E", ("embed_weights", "embed")),
        ("t", ("layer.0.attn_weights", "layer.0.attn")),
        ("L", ("mtp_head_weights", "mtp_head", "head")),
    ]


@pytest.mark.parametrize(
    ("rules", "of", "message"),
    [
        ("m=mtp_*.x,m=mtp_join,m=mtp_attn", {"mtp": 1}, "matches no operator"),
        ("m=mtp_join,m=mtp_attn,m=mtp_mlp", {"mtp": 1}, r"makes 3 layers of multi-token prediction .*the model has 1"),
        (None, {"mtp": 2}, r"makes 1 layers of multi-token prediction .*'mtp'.* has 2 \(origin.mtp"),
        (
            None,
            {"mtp": 1, "layers": 9},
            r"makes 5 decoder layers .*'layer.0', .* has 9 \(origin.layers of graph.yaml\)",
        ),
        ("t=layer.0,t=layer.*", {"mtp": 1}, ""),
    ],
)
def test_numbers_of_layers_are_those_of_the_model(rules: str | None, of: dict[str, int], message: str) -> None:
    problem = made(layers(5, "mtp_join", "mtp_attn", "mtp_mlp"), 2, **of)
    if not message:
        megatron(planned(problem), problem, rules)
        return
    with pytest.raises(CannotExport, match=message):
        megatron(planned(problem), problem, rules)


# -- the nearest plan ---------------------------------------------------------------------------------------


def test_an_interleaved_plan_that_does_not_fit_in_megatrons_order() -> None:
    """16 operators on 2 ranks in 4 chunks of 4: the plan holds one microbatch, interleaved 1F1B more.

    Rank 0 runs 2 x (2 - 1) + 2 chunks ahead and one more: 5 chunks of 4 bytes, beside 8 of parameters. 1F1B holds two
    microbatches of 8 operators: 24 in all.
    """
    problem = made(layers(14), 2, cap=27.0)
    plan = one_at_a_time(problem, [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4)
    own = (
        r"in Megatron's order \(interleaved 1F1B\) it does not fit in memory: g0 needs 28 B of memory, its cap is 27 B"
    )
    one_f_one_b = planned(problem)
    assert one_f_one_b.devices[0].peak_memory == 24
    with pytest.raises(CannotExport, match=own) as refused:
        megatron(plan, problem, None)
    message = str(refused.value)
    assert "the nearest that fits is Et*7|t*7L (one stage a rank" in message
    assert f"{one_f_one_b.makespan:g} s in Megatron's order (1F1B)" in message
    assert "and at most 24 B (g0); --repair exports it" in message
    repaired = megatron(plan, problem, None, MegatronOptions(repair=True))
    assert flags(repaired)["--pipeline-model-parallel-layout"] == "Et*7|t*7L"
    assert repaired.notes[0].startswith("repaired: Et*7|t*7L, every decoder layer not recomputed, since in Megatron's")
    anyway = megatron(plan, problem, None, MegatronOptions(over_memory=True))
    assert flags(anyway)["--pipeline-model-parallel-layout"] == "Ettt|(t*4|)*2tttL"
    assert any("g0 needs 28 B of memory, its cap is 27 B" in note for note in anyway.notes)
    fitting = replace(problem, memory_cap=28.0)
    assert flags(megatron(plan, fitting, None))["--pipeline-model-parallel-layout"] == "Ettt|(t*4|)*2tttL"


@pytest.mark.parametrize(
    ("device_of", "reason"),
    [
        ([0, 0, 1, 1, 1, 1, 0, 0], "after g1 comes g0|its last stage is on g0"),
        ([0, 0, 0, 1, 0, 1, 1, 1], "in a later stage|its stages go|is split|last stage|interleaved"),
    ],
)
def test_a_refusal_offers_the_balanced_layout(device_of: list[int], reason: str) -> None:
    problem = made(layers(6), 2, microbatches=7)  # no number that 2 divides: 1F1B alone
    plan = one_at_a_time(problem, device_of)
    best = planned(problem)
    with pytest.raises(CannotExport, match=reason) as refused:
        megatron(plan, problem, None)
    wanted = "the nearest that fits is Ettt|tttL (one stage a rank, every decoder layer not recomputed): "
    assert f"{wanted}{best.makespan:g} s" in str(refused.value)
    repaired = megatron(plan, problem, None, MegatronOptions(repair=True))
    assert flags(repaired)["--pipeline-model-parallel-layout"] == "Ettt|tttL"


def test_a_split_layer_offers_whole_ones() -> None:
    names = ("embed", *(f"layer.{k}.{part}" for k in range(3) for part in ("attn", "mlp")), "head")
    problem = made(names, 2, microbatches=4)
    origin = replace(problem.graph.made_from or MadeFrom("small"), layers=3)
    problem = replace(problem, graph=replace(problem.graph, made_from=origin))
    with pytest.raises(
        CannotExport, match=r"'layer.1' is split over g0 .* and g1 .*--cut layer.* nearest that fits is Et"
    ):
        megatron(planned(problem), problem, None)


def test_copies_offer_a_plan_of_one() -> None:
    problem = replace(made(layers(6), 4, microbatches=8), copies=2)
    with pytest.raises(CannotExport, match=r"has copies on g\d and g\d.* nearest that fits is Et\|"):
        megatron(planned(problem, "dualpipe"), problem, None)


def test_without_files_the_refusal_asks_for_them() -> None:
    problem = made(layers(6), 2)
    with pytest.raises(CannotExport, match=r"for the nearest plan that it can run, and its cost, give the files"):
        megatron(one_at_a_time(problem, [0, 0, 1, 1, 1, 1, 0, 0]), None, None)


def test_balanced_stages_are_the_best_of_all() -> None:
    """Against every division, with unequal layers and devices."""
    r = np.random.default_rng(0)
    for _ in range(20):
        count, ranks, virtual = int(r.integers(4, 8)), int(r.integers(2, 4)), int(r.integers(1, 3))
        if ranks * virtual > count:
            continue
        problem = made(layers(count - 2), ranks)
        times = r.integers(1, 9, count)
        operators = tuple(
            replace(o, times={p: float(t) for p in o.times}) for o, t in zip(problem.operators, times, strict=True)
        )
        problem = replace(problem, graph=replace(problem.graph, operators=operators))
        names = [f"g{k}" for k in range(ranks)]
        found = layers_of([o.name for o in operators], [])
        chunks = balanced(problem, found, names, virtual, fitting=False)
        assert chunks is not None and [c.device for c in chunks] == names * virtual
        length = {o.name: 3.0 * t for o, t in zip(operators, times, strict=True)}
        mine = sum(sum(length[n] for x in c.layers for n in x.operators) ** POWER for c in chunks)
        every = [length[o.name] for o in operators]
        best = min(
            sum(sum(every[a:b]) ** POWER for a, b in itertools.pairwise((0, *cuts, count)))
            for cuts in itertools.combinations(range(1, count), ranks * virtual - 1)
        )
        assert mine == pytest.approx(best)


def test_balanced_stages_that_fit() -> None:
    """1F1B holds two microbatches on the first of two devices: 6 operators are 6 + 2 x 6 bytes there, 4 are 12."""
    problem = made(layers(8), 2, cap=14.0)
    found = layers_of([o.name for o in problem.operators], [])
    chunks = balanced(problem, found, ["g0", "g1"], 1, fitting=True)
    assert chunks is not None and [len(c.layers) for c in chunks] == [4, 6]
    assert balanced(replace(problem, memory_cap=11.0), found, ["g0", "g1"], 1, fitting=True) is None
    assert balanced(problem, found[:3], ["g0", "g1"], 2, fitting=False) is None


# -- ZeRO ---------------------------------------------------------------------------------------------------


def test_zero_3_is_answered_with_zero_1_and_its_memory() -> None:
    """Of 2 + 4 + 12 bytes a weight over 4 ranks, ZeRO 3 holds 18/4, ZeRO 1 holds 6 + 12/4: twice as much."""
    problem = made(layers(6), 4, zero=3, data=4, optimizer="adam-fp32-master")
    plan = planned(problem)
    assert problem.graph.made_from is not None
    other = with_zero_1(problem, problem.graph.made_from)
    assert other.parameters.tolist() == [2.0] * 8
    peak = plan.devices[0].peak_memory
    assert peak == 2 + 2 * 4  # two operators, four microbatches in flight
    with pytest.raises(
        CannotExport, match=r"ZeRO 3, .* g0 then needs about 12 B instead of 10 B; import with --zero 1"
    ):
        megatron(plan, problem, None)
    repaired = megatron(plan, problem, None, MegatronOptions(repair=True))
    assert flags(repaired)["--use-distributed-optimizer"] is None
    assert "--use-megatron-fsdp" not in flags(repaired)
    tight = replace(problem, memory_cap=11.0)
    notes = megatron(plan, tight, None, MegatronOptions(repair=True)).notes
    assert any("since in Megatron's order (1F1B) it does not fit in memory: g0 needs 12 B" in note for note in notes)


def test_experts_are_shared_by_fewer_ranks() -> None:
    """Over 4 of 8 ranks an expert has 2 replicas: ZeRO 2 holds 2 + 16/2 bytes a weight, ZeRO 1 holds 6 + 12/2."""
    problem = made(("embed", "layer.0.attn", "layer.0.experts", "head"), 2, zero=2, data=8, expert=4, experts=4)
    origin = replace(problem.graph.made_from or MadeFrom("small"), optimizer="adam-fp32-master")
    found = with_zero_1(problem, origin).parameters.tolist()
    assert found[2] == pytest.approx(12 / 10)
    assert found[1] == pytest.approx((6 + 12 / 8) / (2 + 16 / 8))


def test_one_pipeline_rank_has_fsdp() -> None:
    problem = made(layers(2), 1, zero=3, data=4)
    found = flags(exported(problem))
    assert found["--data-parallel-sharding-strategy"] == "optim_grads_params"
    assert "--use-megatron-fsdp" in found and found["--ckpt-format"] == "fsdp_dtensor"


def imported(config: str, *flags: str) -> None:
    """graph.yaml of a config of the tests, in the working directory."""
    path = Path(__file__).parents[2] / "configs" / "models" / config
    size = ["--interconnect", "50 GB/s", "--sequence", "1024", "--cut", "layer", "--microbatches", "4", "--quiet"]
    assert main(["import", "hf", str(path), *size, *flags, "-o", "graph.yaml"]) == 0


@pytest.mark.parametrize("zero", ["2", "3"])
def test_zero_1_is_what_the_importer_makes_of_it(zero: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Operator by operator, those with experts and those without."""
    monkeypatch.chdir(tmp_path)
    cluster = Path(__file__).parents[2] / "configs" / "clusters" / "h100-8.yaml"

    def read(stage: str) -> Problem:
        imported("mixtral-8x7b.json", "--dp", "4", "--cp", "2", "--ep", "2", "--zero", stage)
        return read_problem("graph.yaml", str(cluster))

    sharded, wanted = read(zero), read("1")
    assert sharded.graph.made_from is not None
    other = with_zero_1(sharded, sharded.graph.made_from)
    found = {o.name: other.parameters[i] for i, o in enumerate(other.operators)}
    for i, operator in enumerate(wanted.operators):
        assert found[operator.name] == pytest.approx(wanted.parameters[i], rel=1e-6)


def test_deepseek_v3_with_prediction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """61 layers and one module of prediction in the config; 16 x 4 x 1 sequences."""
    monkeypatch.chdir(tmp_path)
    imported("deepseek-v3.json", "--tp", "2", "--ep", "16", "--dp", "16", "--pp", "4")
    cluster = Path(__file__).parents[2] / "configs" / "clusters" / "h200-8.yaml"
    text = cluster.read_text("utf-8").replace("count: 8", "count: 4")
    Path("cluster.yaml").write_text(text, encoding="utf-8")
    assert main(["baseline", "1f1b", "graph.yaml", "cluster.yaml", "-o", "plan.json", "--quiet"]) == 0
    files = ["--graph", "graph.yaml", "--cluster", "cluster.yaml", "--over-memory", "--quiet"]
    assert main(["export", "plan.json", "--to", "megatron", *files, "-o", "launch.txt"]) == 0
    found = flags(Exported(Path("launch.txt").read_text()))
    wanted = {
        "--num-layers": "61",
        "--mtp-num-layers": "1",
        "--num-experts": "256",
        "--expert-model-parallel-size": "16",
        "--expert-tensor-parallel-size": "2",
        "--seq-length": "1024",
        "--global-batch-size": "64",
    }
    assert {flag: found[flag] for flag in wanted} == wanted
    layout = str(found["--pipeline-model-parallel-layout"])
    assert layout.startswith("E") and layout.endswith("mL")

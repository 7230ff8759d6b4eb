"""The step tasks of ``planner import hf``: reduction, optimizer and gathering by degrees, ZeRO and precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hf_models import NAMES, graph_of, named

from planner.files import read_cluster
from planner.importers.transformer.setting import Optimizer, Precision, Recompute, TiedEmbeddings
from planner.objectives.baseline import baseline_plan
from planner.problem import Operator, Pass, Problem, Stream, Work

CLUSTERS = Path(__file__).resolve().parents[3] / "configs" / "clusters"
ATTENTION = 8192 * (8192 + 2 * 1024 + 8192) / 8 + 8192  # weights of Llama 3.1 70B on one of 8 tensor ranks
MLP = 3 * 8192 * 28672 / 8 + 8192


def updated(operator: Operator) -> float:
    """Bytes that the optimizer touches."""
    cost = operator.step[Pass.U]
    assert isinstance(cost, Work) and cost.flops == 0
    return cost.bytes


def llama_70b(tmp_path: Path, **fields: Any) -> tuple[Operator, Operator]:
    """Attention and MLP of Llama 3.1 70B with tensor degree 8 and four data-parallel ranks."""
    setting: dict[str, Any] = {"tensor": 8, "data": 4, "interconnect": 50e9, "tensor_interconnect": 450e9, **fields}
    graph = graph_of("llama-3.1-70b", tmp_path, tokens=8192, **setting)
    return named(graph, "layer.0.attn"), named(graph, "layer.0.mlp")


def test_step_of_llama_70b_by_hand(tmp_path: Path) -> None:
    """ZeRO 1, FP32 gradients, BF16 weights at 50 GB/s. Adam reads the gradient (4), reads and writes master and two
    moments (24) and writes the weight (2) for a quarter of the weights."""
    for operator, weights in zip(llama_70b(tmp_path), (ATTENTION, MLP), strict=True):
        assert operator.gradient == 4 * weights
        assert operator.step[Pass.R] == pytest.approx(3 / 4 * 4 * weights / 50e9, rel=1e-12)
        assert operator.step[Pass.G] == pytest.approx(3 / 4 * 2 * weights / 50e9, rel=1e-12)
        assert updated(operator) == 30 * weights / 4
    assert llama_70b(tmp_path)[1].step[Pass.R] == pytest.approx(5.285e-3, rel=1e-3)


@pytest.mark.parametrize(
    ("zero", "reduced", "gathered", "share"), [(0, 2, 0, 1), (1, 1, 1, 1 / 4), (2, 1, 1, 1 / 4), (3, 1, 0, 1 / 4)]
)
def test_zero_stages(zero: int, reduced: float, gathered: float, share: float, tmp_path: Path) -> None:
    """ZeRO 0 all-reduces and updates everything; the others scatter; 1 and 2 gather once, 3 for every pass."""
    _, mlp = llama_70b(tmp_path, zero=zero)
    ring = 3 / 4 * MLP / 50e9
    assert mlp.step[Pass.R] == pytest.approx(reduced * 4 * ring)
    assert mlp.step.get(Pass.G, 0.0) == pytest.approx(gathered * 2 * ring)
    assert updated(mlp) == pytest.approx(share * 30 * MLP)
    assert mlp.gradient == 4 * MLP  # whole, whatever ZeRO splits


@pytest.mark.parametrize(
    ("optimizer", "precision", "touched", "gradient", "weight"),
    [
        (Optimizer.ADAM_FP32_MASTER, Precision.BF16, 4 + 2 * 12 + 2, 4, 2),
        (Optimizer.ADAM_FP32_MASTER, Precision.FP32, 4 + 2 * 8 + 2 * 4, 4, 4),
        (Optimizer.ADAM_FP32_MASTER, Precision.FP8, 4 + 2 * 12 + 1, 4, 1),
        (Optimizer.ADAM, Precision.BF16, 2 + 2 * 4 + 2 * 2, 2, 2),
        (Optimizer.ADAM, Precision.FP8, 2 + 2 * 6 + 1, 2, 1),
        (Optimizer.SGD, Precision.BF16, 2 + 2 * 2, 2, 2),
    ],
)
def test_bytes_by_optimizer(
    optimizer: Optimizer, precision: Precision, touched: int, gradient: int, weight: int, tmp_path: Path
) -> None:
    """Apart from the norm, whose weights are no FP8."""
    _, mlp = llama_70b(tmp_path, optimizer=optimizer, precision=precision)
    ring = 3 / 4 * MLP / 50e9
    assert updated(mlp) == pytest.approx(touched * MLP / 4, rel=2e-4)
    assert mlp.step[Pass.R] == pytest.approx(gradient * ring, rel=2e-4)
    assert mlp.step[Pass.G] == pytest.approx(weight * ring, rel=2e-4)


def test_adafactor_reads_the_gradient_twice_and_its_factors(tmp_path: Path) -> None:
    _, mlp = llama_70b(tmp_path, optimizer=Optimizer.ADAFACTOR, data=1)
    factors = (8192 + 2 * 28672 / 8) + (28672 / 8 + 8192)
    assert updated(mlp) == pytest.approx((2 * 2 + 2 * 2) * MLP + 2 * 4 * factors)


def test_one_replica_has_nothing_to_reduce(tmp_path: Path) -> None:
    _, mlp = llama_70b(tmp_path, data=1)
    assert set(mlp.step) == {Pass.U}
    assert updated(mlp) == 30 * MLP
    assert mlp.gradient == 4 * MLP


def test_no_optimizer_no_step(tmp_path: Path) -> None:
    """Nor in inference, with --no-whole-step, of collectives, or of a frozen tower."""
    for fields in ({"optimizer": Optimizer.NONE}, {"training": False}, {"whole_step": False}):
        graph = graph_of("llama-3-8b", tmp_path, **fields)
        assert not graph.clip_gradients
        assert all(not operator.step and not operator.gradient for operator in graph.operators)
    frozen = graph_of("llava-1.5-7b", tmp_path, freeze_vision=True, tensor=2, interconnect=50e9)
    for operator in frozen.operators:
        tower = operator.name.startswith(("patches", "vision."))
        assert bool(operator.step) is (operator.stream is Stream.COMPUTE and not tower)


def test_gradients_are_clipped_unless_told(tmp_path: Path) -> None:
    assert graph_of("llama-3-8b", tmp_path).clip_gradients
    assert not graph_of("llama-3-8b", tmp_path, clip_gradients=False).clip_gradients


def test_experts_reduce_over_their_own_replicas(tmp_path: Path) -> None:
    """64 ranks, 256 experts over 16 of them: 4 replicas of 16 experts, 64 of everything else."""
    graph = graph_of("deepseek-v3", tmp_path, expert=16, data=64, interconnect=50e9)
    layer = {o.name.split(".")[-1]: o for o in graph.operators if o.name.startswith("layer_moe.0.")}
    routed, shared = 16 * 3 * 7168 * 2048, 3 * 7168 * 2048
    for name, weights, replicas in (("experts", routed, 4), ("shared", shared, 64)):
        ring = (replicas - 1) / replicas * weights / 50e9
        assert layer[name].step[Pass.R] == pytest.approx(4 * ring)
        assert layer[name].step[Pass.G] == pytest.approx(2 * ring)
        assert updated(layer[name]) == pytest.approx(30 * weights / replicas)
        assert layer[name].gradient == 4 * weights
    whole = graph_of("deepseek-v3", tmp_path, expert=64, data=64, interconnect=50e9)
    assert set(named(whole, "layer_moe.0.experts").step) == {Pass.U}
    assert set(named(whole, "layer_moe.0.shared").step) == {Pass.R, Pass.U, Pass.G}


def test_sequence_ranks_hold_the_same_weights(tmp_path: Path) -> None:
    """Four sequence ranks reduce as four data ranks do, at the bandwidth between sequence ranks."""
    graph = graph_of("llama-3-8b", tmp_path, tokens=8192, context=4, interconnect=50e9, tensor_interconnect=450e9)
    mlp = named(graph, "layer.0.mlp")
    assert mlp.step[Pass.R] == pytest.approx(3 / 4 * mlp.gradient / 450e9)
    mixed = graph_of(
        "llama-3-8b", tmp_path, tokens=8192, context=2, data=2, interconnect=50e9, tensor_interconnect=450e9
    )
    assert named(mixed, "layer.0.mlp").step[Pass.R] == pytest.approx(3 / 4 * mlp.gradient / 50e9)


def test_data_ranks_may_have_a_bandwidth_of_their_own(tmp_path: Path) -> None:
    _, mlp = llama_70b(tmp_path, data_interconnect=25e9)
    assert mlp.step[Pass.R] == pytest.approx(3 / 4 * 4 * MLP / 25e9)


@pytest.mark.parametrize("zero", [0, 1, 3])
def test_without_bandwidth_only_the_optimizer_is_counted(zero: int, tmp_path: Path) -> None:
    graph = graph_of("llama-3-8b", tmp_path, zero=zero, data=8)
    assert all(set(operator.step) == {Pass.U} for operator in graph.operators)


def test_tied_heads_update_the_matrix_once(tmp_path: Path) -> None:
    """On one device the head has no weights but the last norm's; as a copy it has the whole step of a matrix."""
    one = graph_of("gemma-7b", tmp_path, tied=TiedEmbeddings.COLOCATE)
    copy = graph_of("gemma-7b", tmp_path)
    assert named(one, "embed").gradient == named(copy, "embed").gradient == 4 * 256000 * 3072
    assert named(one, "head").gradient == 4 * 3072
    assert named(copy, "head").gradient == 4 * (256000 * 3072 + 3072)


def test_zero_3_gathers_before_each_pass(tmp_path: Path) -> None:
    """Weights are gathered on the comm stream of the operator's device, before F and again before I."""
    graph = graph_of("llama-3-8b", tmp_path, zero=3, data=8, interconnect=100e9)
    seconds = 7 / 8 * 2 * (3 * 4096 * 14336 + 4096) / 100e9
    before, mlp, again = (named(graph, f"layer.3.{name}") for name in ("mlp_weights", "mlp", "mlp_weights_again"))
    assert before.stream is again.stream is Stream.COMM
    assert before.colocate == mlp.colocate == again.colocate
    assert before.times == {Pass.F: pytest.approx(seconds), Pass.I: 0}
    assert again.times == {Pass.F: 0, Pass.I: pytest.approx(seconds)}
    assert before.inputs == () and mlp.inputs == ("layer.3.attn", before.name) and again.inputs == (mlp.name,)
    assert named(graph, "layer.3.attn_input").inputs == ("layer.2.mlp",)
    assert named(graph, "layer.3.attn").inputs == ("layer.3.attn_input", "layer.3.attn_weights")
    assert named(graph, "embed").inputs == ("embed_weights",)
    assert named(graph, "head").inputs == ("layer.31.mlp", "head_weights")
    assert "embed_weights_again" not in graph.index  # looking rows up has no gradient of its input
    assert set(mlp.step) == {Pass.R, Pass.U}
    assert not any(o.name.endswith(("_weights", "_again")) for o in graph_of("llama-3-8b", tmp_path).operators)


def test_zero_3_gathers_experts_over_their_own_replicas(tmp_path: Path) -> None:
    graph = graph_of("deepseek-v3", tmp_path, zero=3, expert=64, data=128, interconnect=50e9)
    routed, shared = 4 * 3 * 7168 * 2048, 3 * 7168 * 2048
    gathered = {o.name.split(".")[-1]: o.times[Pass.F] for o in graph.operators if o.name.startswith("layer_moe.0.")}
    assert gathered["experts_weights"] == pytest.approx(1 / 2 * 2 * routed / 50e9)
    assert gathered["shared_weights"] == pytest.approx(127 / 128 * 2 * shared / 50e9)
    assert {"mtp_experts_weights", "mtp_head_weights"} <= set(graph.index)


def test_zero_3_of_frozen_weights(tmp_path: Path) -> None:
    """They are gathered for the forward pass alone; without an optimizer, for both."""
    frozen = graph_of("llava-1.5-7b", tmp_path, zero=3, data=8, interconnect=100e9, freeze_vision=True)
    assert "vision.0.attn_weights" in frozen.index
    assert "vision.0.attn_weights_again" not in frozen.index
    none = graph_of("llava-1.5-7b", tmp_path, zero=3, data=8, interconnect=100e9, optimizer=Optimizer.NONE)
    assert "vision.0.attn_weights_again" in none.index
    assert all(not operator.step for operator in none.operators)


@pytest.mark.parametrize("name", NAMES)
def test_whole_steps_of_all_models_schedule(name: str, tmp_path: Path) -> None:
    """ZeRO 3 with choice of recomputation, the graph with most of everything: it is read and runs under 1F1B."""
    fields: dict[str, Any] = {"zero": 3, "data": 4, "interconnect": 50e9, "recompute": Recompute.CHOOSE}
    graph = graph_of(name, tmp_path, microbatches=2, **fields)
    assert graph.clip_gradients
    trained = [o for o in graph.operators if o.stream is Stream.COMPUTE and o.parameters]
    assert trained and all(set(o.step) == {Pass.R, Pass.U} and o.gradient for o in trained)
    problem = Problem(graph, read_cluster(CLUSTERS / "h200-8.yaml"), 2, memory_cap=1e15)
    assert baseline_plan("1f1b", problem).makespan > 0

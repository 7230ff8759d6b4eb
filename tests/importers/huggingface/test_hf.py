"""The graphs that ``planner import hf`` writes: structure, passes, memory and collectives under every flag."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from hf_models import CONFIGS, NAMES, graph_of, model_of, named, setting_of

from planner.files import read_cluster
from planner.importers.huggingface.config import Unfit
from planner.importers.huggingface.flags import HfFlags
from planner.importers.huggingface.importer import hf_document
from planner.importers.transformer.setting import Cut, Optimizer, Precision, Recompute, Setting, TiedEmbeddings
from planner.objectives.baseline import baseline_plan
from planner.problem import PASS_ORDER, Graph, Mode, Operator, Pass, Problem, Stream, Work

CLUSTERS = Path(__file__).resolve().parents[3] / "configs" / "clusters"
LLAMA_LAYER = 4096 * (4096 + 2 * 1024 + 4096 + 3 * 14336)  # weights in matrices of a layer of Llama 3 8B


def work(operator: Operator, which: Pass) -> Work:
    cost = operator.times[which]
    assert isinstance(cost, Work)
    return cost


def seconds(operator: Operator, which: Pass) -> float:
    cost = operator.times[which]
    assert isinstance(cost, float)
    return cost


def layer_of(graph: Graph, prefix: str = "layer.0.") -> list[Operator]:
    return [operator for operator in graph.operators if operator.name.startswith(prefix)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [True, False])
def test_every_model_makes_a_graph_that_schedules(name: str, training: bool, tmp_path: Path) -> None:
    """It is read, has one source a side at most and runs under 1F1B (or, in inference, forward) on eight H200."""
    graph = graph_of(name, tmp_path, training=training, microbatches=8)
    assert graph.mode is (Mode.TRAINING if training else Mode.INFERENCE)
    assert graph.operators[0].name == "embed"
    assert graph.operators[-1].name == "head"
    read = {source for operator in graph.operators for source in operator.inputs}
    assert [o.name for o in graph.operators if o.name not in read and not o.name.endswith("head")] == []
    problem = Problem(graph, read_cluster(CLUSTERS / "h200-8.yaml"), 8, memory_cap=1e15)
    plan = baseline_plan("1f1b", problem)
    assert plan.makespan > 0


def test_dense_layer_by_hand(tmp_path: Path) -> None:
    """Llama 3 8B, 4096 tokens: FLOP of each pass from the weights, attention beside them."""
    graph = graph_of("llama-3-8b", tmp_path, tokens=4096)
    attn, mlp = layer_of(graph)
    core = 4 * 4096 * (4097 / 2) * 4096
    weights = 4096 * (4096 + 2048 + 4096)
    assert work(attn, Pass.F).flops == pytest.approx(2 * 4096 * weights + core, rel=1e-9)
    assert work(attn, Pass.I).flops == pytest.approx(2 * 4096 * weights + 2.5 * core, rel=1e-9)
    assert work(attn, Pass.W).flops == pytest.approx(2 * 4096 * weights, rel=1e-9)
    assert {work(mlp, p).flops for p in PASS_ORDER} == {2.0 * 4096 * 3 * 4096 * 14336}
    assert attn.parameters + mlp.parameters == 18 * (LLAMA_LAYER + 2 * 4096)
    assert attn.output == mlp.output == 4096 * 4096 * 2


def test_activation_is_korthikanti_without_dropout_masks(tmp_path: Path) -> None:
    """GPT-2 XL: 34 s b h bytes a layer less two masks of s b h; flash attention adds a number a head and token."""
    layer = layer_of(graph_of("gpt2-xl", tmp_path, tokens=1024, micro_batch=4))
    tokens, hidden, heads = 4 * 1024, 1600, 25
    assert sum(o.activation for o in layer) == pytest.approx(32 * tokens * hidden + 4 * tokens * heads, rel=1e-9)


def test_weight_grad_holds_inputs_and_output_gradients(tmp_path: Path) -> None:
    """Attention of Llama: W needs both inputs and both output gradients of its two products."""
    attn, _ = layer_of(graph_of("llama-3-8b", tmp_path, tokens=4096))
    inputs, gradients = 2 * 4096, (4096 + 2048) + 4096
    assert attn.held_for_weight_grad == 4096 * 2 * (inputs + gradients)
    assert attn.activation == 4096 * 2 * (4 * 4096 + 2 * 1024) + 4096 * 32 * 4


@pytest.mark.parametrize(
    ("optimizer", "precision", "bytes_each"),
    [
        (Optimizer.ADAM, Precision.BF16, 8),
        (Optimizer.ADAM_FP32_MASTER, Precision.BF16, 18),
        (Optimizer.SGD, Precision.BF16, 4),
        (Optimizer.NONE, Precision.BF16, 2),
        (Optimizer.ADAM, Precision.FP32, 16),
        (Optimizer.ADAM_FP32_MASTER, Precision.FP32, 16),
        (Optimizer.ADAM_FP32_MASTER, Precision.FP8, 17),
        (Optimizer.ADAM, Precision.FP8, 9),
    ],
)
def test_bytes_of_a_weight(optimizer: Optimizer, precision: Precision, bytes_each: int, tmp_path: Path) -> None:
    graph = graph_of("llama-3-8b", tmp_path, optimizer=optimizer, precision=precision)
    _, mlp = layer_of(graph)
    assert mlp.parameters == pytest.approx(bytes_each * 3 * 4096 * 14336, rel=1e-3)  # the norm is no matrix
    assert (Pass.W in mlp.times) is (optimizer is not Optimizer.NONE)


def test_adafactor_keeps_rows_and_columns(tmp_path: Path) -> None:
    _, mlp = layer_of(graph_of("llama-3-8b", tmp_path, optimizer=Optimizer.ADAFACTOR))
    matrices, factors = 3 * 4096 * 14336, (4096 + 2 * 14336) + (14336 + 4096)
    assert mlp.parameters == 4 * (matrices + 4096) + 4 * factors


@pytest.mark.parametrize(("zero", "bytes_each"), [(0, 18), (1, 6 + 12 / 8), (2, 2 + 16 / 8), (3, 18 / 8)])
def test_zero_splits_over_replicas(zero: int, bytes_each: float, tmp_path: Path) -> None:
    _, mlp = layer_of(graph_of("llama-3-8b", tmp_path, zero=zero, data=8))
    assert mlp.parameters == pytest.approx(bytes_each * (3 * 4096 * 14336 + 4096))


def test_experts_are_sharded_over_their_own_replicas(tmp_path: Path) -> None:
    """64 ranks, experts over 16 of them: four replicas share an expert's state, 64 an attention's."""
    graph = graph_of("deepseek-v3", tmp_path, expert=16, data=64, interconnect=50e9)
    layer = {operator.name.split(".")[-1]: operator for operator in layer_of(graph, "layer_moe.0.")}
    assert layer["experts"].parameters == (6 + 12 / 4) * 16 * 3 * 7168 * 2048
    shared = 3 * 7168 * 2048
    assert layer["shared"].parameters == (6 + 12 / 64) * shared


@pytest.mark.parametrize("recompute", [Recompute.SELECTIVE, Recompute.FULL])
@pytest.mark.parametrize("name", ["llama-3-8b", "deepseek-v2-lite", "gpt2"])
def test_recomputation_trades_work_for_memory(name: str, recompute: Recompute, tmp_path: Path) -> None:
    kept, again = graph_of(name, tmp_path), graph_of(name, tmp_path, recompute=recompute)
    for before, after in zip(kept.operators, again.operators, strict=True):
        assert Pass.W not in after.times
        assert after.activation <= before.activation
        backward = [work(before, p) for p in (Pass.I, Pass.W) if p in before.times]
        flops = sum(each.flops for each in backward)
        extra = work(before, Pass.F).flops if recompute is Recompute.FULL else 0.0
        assert work(after, Pass.I).flops >= flops + extra - 1
        if recompute is Recompute.FULL:
            assert work(after, Pass.I).flops == pytest.approx(flops + extra)
    layers = [sum(o.activation for o in g.operators if ".0." in o.name) for g in (kept, again)]
    assert layers[1] < 0.95 * layers[0]


def test_tensor_parallelism_cuts_work_memory_and_adds_collectives(tmp_path: Path) -> None:
    one = layer_of(graph_of("llama-3-8b", tmp_path))
    four = layer_of(graph_of("llama-3-8b", tmp_path, tensor=4, interconnect=450e9))
    assert [o.name.split(".")[-1] for o in four] == ["attn", "attn_reduce", "mlp", "mlp_reduce"]
    for before, after in zip(one, four[::2], strict=True):
        assert work(after, Pass.F).flops == pytest.approx(work(before, Pass.F).flops / 4)
        assert after.activation == pytest.approx(before.activation / 4)
        assert after.parameters == pytest.approx(before.parameters / 4, rel=1e-3)  # norms are on every rank
    for reduce in four[1::2]:
        assert reduce.stream is Stream.COMM
        assert seconds(reduce, Pass.F) == seconds(reduce, Pass.I) == pytest.approx(2 * 3 / 4 * 4096 * 8192 / 450e9)


def test_expert_parallelism_all_to_all(tmp_path: Path) -> None:
    """Eight of 256 experts a token on 64 ranks, FP8 out and BF16 back, as DeepSeek-V3 sends them."""
    graph = graph_of("deepseek-v3", tmp_path, expert=64, interconnect=50e9, precision=Precision.FP8)
    layer = {operator.name.split(".")[-1]: operator for operator in layer_of(graph, "layer_moe.0.")}
    assert list(layer) == ["attn", "router", "dispatch", "experts", "shared", "combine"]
    there = 4096 * 7168 * 8 * 63 / 64 / 50e9
    assert [seconds(layer["dispatch"], p) for p in (Pass.F, Pass.I)] == pytest.approx([there, 2 * there])
    assert [seconds(layer["combine"], p) for p in (Pass.F, Pass.I)] == pytest.approx([2 * there, there])
    assert layer["combine"].inputs == ("layer_moe.0.experts", "layer_moe.0.shared")
    assert layer["shared"].inputs == ("layer_moe.0.router",)
    limited = graph_of("deepseek-v3", tmp_path, expert=64, interconnect=50e9, sends_per_token=4)
    dispatch = named(limited, "layer_moe.7.dispatch")
    assert seconds(dispatch, Pass.F) == pytest.approx(there)  # BF16 is twice the bytes, four sends half of them


def test_deepseek_v3_has_dense_layers_and_predicts_a_further_token(tmp_path: Path) -> None:
    graph = graph_of("deepseek-v3", tmp_path, expert=64, interconnect=50e9)
    assert len(layer_of(graph, "layer_dense.")) == 3 * 2
    assert len(layer_of(graph, "layer_moe.")) == 58 * 6
    assert named(graph, "mtp_join").inputs == ("layer_moe.57.combine", "embed")
    assert named(graph, "mtp_head").colocate == named(graph, "head").colocate == "head"
    assert named(graph, "mtp_head").parameters < 1e6 < named(graph, "head").parameters
    without = graph_of("deepseek-v3", tmp_path, expert=64, interconnect=50e9, mtp=False)
    assert len(graph.operators) - len(without.operators) == 8


PARTS = {"attention": {"attn", "attn_reduce"}, "experts": {"router", "dispatch", "experts", "shared", "combine"}}


@pytest.mark.parametrize(
    ("cut", "together"),
    [
        (Cut.OPERATOR, {}),
        (Cut.PART, PARTS),
        (Cut.LAYER, {"layer": set().union(*PARTS.values())}),
    ],
)
def test_a_cut_keeps_parts_or_layers_on_one_device(cut: Cut, together: dict[str, set[str]], tmp_path: Path) -> None:
    flags: dict[str, Any] = {"tensor": 2, "expert": 4, "interconnect": 50e9}
    graph = graph_of("deepseek-v3", tmp_path, cut=cut, **flags)
    assert graph.made_from is not None
    assert graph.made_from.cut == cut
    labels: dict[str, set[str]] = {}
    for operator in layer_of(graph, "layer_moe.3."):
        if operator.colocate is not None:
            labels.setdefault(operator.colocate, set()).add(operator.name.removeprefix("layer_moe.3."))
    assert labels == {f"layer_moe.3.{label}": names for label, names in together.items()}
    assert named(graph, "layer_moe.4.attn").colocate not in labels
    further = {operator.colocate for operator in graph.operators if operator.name.startswith("mtp_")} - {"head", None}
    assert further == {f"mtp_{label}" for label in together}


def test_before_a_sum_the_whole_partial_sums_travel(tmp_path: Path) -> None:
    one, four = (
        graph_of("deepseek-v3", tmp_path, tensor=tensor, expert=4, interconnect=50e9, cut=Cut.OPERATOR)
        for tensor in (1, 4)
    )
    state = 4096 * 7168 * 2
    for name in ("attn", "shared"):
        assert named(one, f"layer_moe.0.{name}").output == named(four, f"layer_moe.0.{name}").output == state
    assert named(four, "layer_moe.0.attn_reduce").output == state / 4
    routed = state * 8
    assert named(four, "layer_moe.0.experts").output == routed + state / 4
    assert named(four, "layer_moe.0.combine").output == state / 4


def test_sequence_parallelism_gathers_keys_and_values(tmp_path: Path) -> None:
    layer = layer_of(graph_of("llama-3-8b", tmp_path, tokens=8192, context=4, interconnect=100e9))
    names = [operator.name.removeprefix("layer.0.") for operator in layer]
    assert names == ["attn_qkv", "attn_kv_gather", "attn", "mlp"]
    own = 8192 // 4 * 2 * 1024 * 2
    assert seconds(layer[1], Pass.F) == pytest.approx(3 * own / 100e9)
    whole = layer_of(graph_of("llama-3-8b", tmp_path, tokens=8192))
    flops = [sum(work(o, Pass.F).flops for o in g if o.stream is Stream.COMPUTE) for g in (layer, whole)]
    assert flops[0] == pytest.approx(flops[1] / 4)


def test_precision_scales_products_but_not_attention(tmp_path: Path) -> None:
    """Clusters state the BF16 rate: FP8 products are half the FLOP, TF32 all twice."""
    graphs = {p: layer_of(graph_of("llama-3-8b", tmp_path, precision=p)) for p in Precision}
    mlp = {p: work(layer[1], Pass.F).flops for p, layer in graphs.items()}
    assert mlp[Precision.FP8] * 2 == mlp[Precision.BF16] == mlp[Precision.FP32] / 2
    core = 4 * 4096 * (4097 / 2) * 4096
    attn = {p: work(layer[0], Pass.F).flops for p, layer in graphs.items()}
    assert attn[Precision.FP8] == pytest.approx((attn[Precision.BF16] - core) / 2 + core)


def test_inference_holds_output_and_cache(tmp_path: Path) -> None:
    graph = graph_of("llama-3-8b", tmp_path, training=False)
    attn, mlp = layer_of(graph)
    assert attn.activation == attn.output + 4096 * 2 * 1024 * 2
    assert mlp.activation == mlp.output
    assert mlp.parameters == 2 * (3 * 4096 * 14336 + 4096)
    latent = layer_of(graph_of("deepseek-v2-lite", tmp_path, training=False), "layer_moe.0.")[0]
    assert latent.activation == latent.output + 4096 * (512 + 64) * 2


def test_tied_embeddings_as_copies_or_on_one_device(tmp_path: Path) -> None:
    copies, one = (graph_of("gemma-7b", tmp_path, tied=t) for t in TiedEmbeddings)
    table = 18 * 256000 * 3072
    assert named(copies, "head").parameters == pytest.approx(table, rel=1e-3)
    assert named(copies, "head").colocate is None
    assert named(one, "head").colocate == named(one, "embed").colocate == "vocabulary"
    assert named(one, "embed").parameters == table
    assert named(one, "head").parameters == 18 * 3072


def test_encoder_decoder_reads_the_encoder_everywhere(tmp_path: Path) -> None:
    graph = graph_of("t5-11b", tmp_path)
    crosses = [operator for operator in graph.operators if operator.name.endswith(".cross")]
    assert len(crosses) == 24
    assert all(operator.inputs[-1] == "encoder_norm" for operator in crosses)
    assert named(graph, "decoder.0.attn").inputs == ("decoder_embed",)


def test_vision_tower_joins_the_language_model(tmp_path: Path) -> None:
    graph = graph_of("llava-1.5-7b", tmp_path, images=2)
    assert named(graph, "layer.0.attn").inputs == ("embed", "projector")
    assert named(graph, "projector").output == 2 * 576 * 4096 * 2
    frozen = graph_of("llava-1.5-7b", tmp_path, images=2, freeze_vision=True)
    tower = [operator for operator in frozen.operators if operator.name.startswith(("patches", "vision."))]
    assert len(tower) == 1 + 24 * 2
    assert all(o.activation == 0 and Pass.W not in o.times and work(o, Pass.I).flops == 0 for o in tower)
    assert named(frozen, "projector").times.keys() == set(PASS_ORDER)


def test_windows_repeat_in_a_pattern(tmp_path: Path) -> None:
    """Gemma 3: five layers with a window of 512, then one without; 26 layers end inside the pattern."""
    graph = graph_of("gemma-3-1b", tmp_path, tokens=4096)
    attention = [operator for operator in graph.operators if operator.name.endswith("attn")]
    costs = [work(operator, Pass.F).flops for operator in attention]
    assert [cost == max(costs) for cost in costs] == [(i + 1) % 6 == 0 for i in range(26)]
    assert named(graph, "layer_window_full.3.full.0.attn").inputs == ("layer_window_full.3.window.4.mlp",)
    assert named(graph, "layer_window.1.attn").inputs == ("layer_window.0.mlp",)
    short = graph_of("gemma-3-1b", tmp_path, tokens=512)
    assert {o.name.split(".")[0] for o in short.operators} == {"embed", "layer", "head"}


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("llama-3-8b", {"tensor": 3, "interconnect": 1e9}, "must divide the 32 attention heads"),
        ("llama-3-8b", {"tensor": 2}, "needs --interconnect"),
        ("llama-3-8b", {"expert": 2, "interconnect": 1e9}, "has no experts"),
        ("mixtral-8x7b", {"expert": 16, "interconnect": 1e9}, "must divide the 8 experts"),
        ("deepseek-v3", {"expert": 64, "data": 3, "interconnect": 1e9}, "--data-parallel 64"),
        ("llama-3-8b", {"context": 3, "interconnect": 1e9}, "must divide --sequence 4096"),
        ("llama-3-8b", {"sends_per_token": 2}, "--expert-parallel too"),
        ("llama-3-8b", {"images": 1}, "does not"),
        ("llava-1.5-7b", {"images": 9}, "more than --sequence"),
        ("qwen2-vl-7b", {"image_pixels": 450}, "multiple of 28"),
        ("llava-1.5-7b", {"image_pixels": 448}, "336"),
        ("gpt2", {"tokens": 2048}, "1024 positions"),
    ],
)
def test_flags_that_do_not_fit(name: str, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(Unfit, match=words):
        setting_of(name, **fields)


def test_sequence_defaults_to_what_the_model_takes() -> None:
    assert [setting_of(n).tokens for n in ("llama-3-8b", "gpt2", "bert-large")] == [4096, 1024, 512]
    assert model_of("bert-large").longest == 512


def test_the_name_of_a_graph_is_none_of_the_model(tmp_path: Path) -> None:
    """Graphs of several strategies have names of their own and one model, so that their plans can be compared."""
    (tmp_path / "llama").mkdir()
    config = shutil.copy(CONFIGS / "llama-3-8b.json", tmp_path / "llama" / "config.json")
    document = hf_document(Path(config), HfFlags(Setting(), 4096, name="llama-tp8"))
    assert document.origin is not None
    assert (document.name, document.origin.model) == ("llama-tp8", "llama")

"""Decode steps that ``planner import hf --cached-tokens`` writes, by hand calculation."""

from __future__ import annotations

from pathlib import Path

import pytest
from hf_models import graph_of

from planner.commands.app import main
from planner.costs.accelerator import accelerator
from planner.costs.kernels import decode_seconds
from planner.importers.huggingface.config import Unfit
from planner.importers.transformer.calibrated import Calibrated, ranks_per_node
from planner.importers.transformer.setting import Precision
from planner.problem import Graph, Mode, Operator, Pass, Work

ATTENTION = 4096 * (4096 + 2 * 1024 + 4096)  # weights of Llama 3 8B's projections in a layer
MLP = 3 * 4096 * 14336


def forward(operator: Operator) -> Work:
    cost = operator.times[Pass.F]
    assert isinstance(cost, Work)
    return cost


def seconds(graph: Graph, name: str) -> float:
    cost = graph.operators[[operator.name for operator in graph.operators].index(name)].times[Pass.F]
    assert isinstance(cost, float)
    return cost


def layer_of(graph: Graph, prefix: str = "layer.0.") -> list[Operator]:
    return [operator for operator in graph.operators if operator.name.startswith(prefix)]


def priced(tensor: int = 1) -> Calibrated:
    return Calibrated(accelerator("h100"), None, ranks_per_node(tensor, 1, 8), Precision.BF16)


def test_a_decode_step_of_llama_3_8b_by_hand(tmp_path: Path) -> None:
    """16 sequences after 2,047 tokens: each new one attends to 2,048 keys of 8 heads, and weights are read once."""
    graph = graph_of("llama-3-8b", tmp_path, training=False, cached=2047, micro_batch=16, microbatches=4)
    assert graph.mode is Mode.INFERENCE
    attn, mlp = layer_of(graph)
    state, qkv = 16 * 4096 * 2, 16 * (4096 + 2048) * 2
    kv = 16 * 2048 * 2 * 1024 * 2  # bytes of the keys and values of all sequences
    assert forward(attn).flops == 2 * 16 * ATTENTION + 16 * 4 * 2048 * 4096
    # norm: three times the state; projections: in, weights, out; rotary: queries and keys there and back;
    # core: queries, output and the cache; output projection
    moved = 3 * state + (state + qkv) + 2 * 16 * (4096 + 1024) * 2 + 2 * state + kv + 2 * state
    assert forward(attn).bytes == moved + ATTENTION * 2
    assert forward(mlp).flops == 2 * 16 * MLP
    hidden = 16 * 14336 * 2
    assert forward(mlp).bytes == 3 * state + (state + 2 * hidden) + 3 * hidden + (hidden + state) + MLP * 2
    # The caches of all four microbatches stay, those of the new tokens included.
    assert attn.parameters == (ATTENTION + 4096) * 2 + 4 * kv
    assert mlp.parameters == (MLP + 4096) * 2
    assert attn.activation == attn.output == state


def test_weights_are_read_once_a_microbatch(tmp_path: Path) -> None:
    """The MLP takes the time of reading its weights, for one sequence and for sixteen; a prompt computes for longer."""
    one = graph_of("llama-3-8b", tmp_path, training=False, cached=2047, micro_batch=1, pricing=priced())
    many = graph_of("llama-3-8b", tmp_path, training=False, cached=2047, micro_batch=16, pricing=priced())
    read = MLP * 2 / 3.35e12
    assert read < seconds(one, "layer.0.mlp") < 1.6 * read
    assert seconds(many, "layer.0.mlp") < 1.15 * seconds(one, "layer.0.mlp")
    prompt = graph_of("llama-3-8b", tmp_path, training=False, tokens=2048, pricing=priced())
    assert seconds(prompt, "layer.0.mlp") > 5 * seconds(many, "layer.0.mlp")


def test_attention_of_a_decode_step_takes_the_reading_of_its_cache(tmp_path: Path) -> None:
    h100 = accelerator("h100")
    size = 64 * (2 * 4096 + 8192 * 2048) * 2
    found = decode_seconds(h100, 64, 8192, 32, 8, 128, 128, size)
    assert found == pytest.approx(h100.attention["bf16"].launch + size / h100.memory_bandwidth)
    short, long = (
        graph_of("llama-3-8b", tmp_path, training=False, cached=tokens, micro_batch=64, pricing=priced())
        for tokens in (1023, 9215)
    )
    more = seconds(long, "layer.0.attn") - seconds(short, "layer.0.attn")
    assert more == pytest.approx(64 * 8192 * 2048 * 2 / h100.memory_bandwidth)


def test_many_heads_on_one_latent_are_limited_by_products() -> None:
    """128 heads share a latent of 576 elements: 2 x 128 x (576 + 512) FLOP for 1,152 bytes."""
    h100 = accelerator("h100")
    flops, size = 2.0 * 32 * 128 * 8192 * (576 + 512), 32 * 8192 * 576 * 2.0
    found = decode_seconds(h100, 32, 8192, 128, 1, 576, 512, size)
    curve = h100.attention["bf16"]
    assert found == pytest.approx(curve.launch + max(flops / (curve.peak * h100.derate), size / h100.memory_bandwidth))
    alone = decode_seconds(h100, 32, 8192, 1, 1, 576, 512, 0.0)  # a tile has 64 rows, however few heads there are
    assert alone == pytest.approx(decode_seconds(h100, 32, 8192, 64, 1, 576, 512, 0.0))


def test_mla_caches_latents_on_every_tensor_rank(tmp_path: Path) -> None:
    """DeepSeek-V3: 512 + 64 elements a token, read once for the heads of the rank, 128 / 8."""
    kept = {}
    for tensor in (1, 8):
        graph = graph_of(
            "deepseek-v3", tmp_path, training=False, cached=999, micro_batch=2, microbatches=1, tensor=tensor,
            interconnect=1e11,
        )  # fmt: skip
        longer = graph_of(
            "deepseek-v3", tmp_path, training=False, cached=1999, micro_batch=2, microbatches=1, tensor=tensor,
            interconnect=1e11,
        )  # fmt: skip
        attn, more = (next(o for o in g.operators if o.name.endswith("0.attn")) for g in (graph, longer))
        kept[tensor] = more.parameters - attn.parameters
        assert forward(more).bytes - forward(attn).bytes == 2 * 1000 * 576 * 2
        assert forward(more).flops - forward(attn).flops == 2 * 2 * 1000 * (128 / tensor) * (576 + 512)
    assert kept == {1: 2 * 1000 * 576 * 2, 8: 2 * 1000 * 576 * 2}


def test_tensor_ranks_share_the_cache(tmp_path: Path) -> None:
    whole, half = (
        layer_of(
            graph_of(
                "llama-3-8b", tmp_path, training=False, cached=4095, micro_batch=2, microbatches=1, tensor=tensor,
                interconnect=1e11,
            )
        )[0]
        for tensor in (1, 2)
    )  # fmt: skip
    assert whole.parameters - (ATTENTION + 4096) * 2 == 2 * 4096 * 2048 * 2
    assert half.parameters - (ATTENTION / 2 + 4096) * 2 == 4096 * 2048 * 2


def test_a_window_limits_keys_and_cache(tmp_path: Path) -> None:
    """Gemma 3: layers with a window read and keep no more, however long the sequence is."""
    short, long = (
        graph_of("gemma-3-1b", tmp_path, training=False, cached=tokens, microbatches=1) for tokens in (4095, 8191)
    )
    names = [operator.name for operator in short.operators]
    inside = next(i for i, name in enumerate(names) if "window" in name.split(".")[-3:] and name.endswith("attn"))
    full = next(i for i, name in enumerate(names) if "full" in name.split(".")[-3:] and name.endswith("attn"))
    assert names == [operator.name for operator in long.operators]
    assert forward(short.operators[inside]) == forward(long.operators[inside])
    assert short.operators[inside].parameters == long.operators[inside].parameters
    assert forward(long.operators[full]).bytes > forward(short.operators[full]).bytes
    assert long.operators[full].parameters > short.operators[full].parameters


def test_few_tokens_read_few_experts(tmp_path: Path) -> None:
    """Mixtral: one token reads 2 of 8 experts, 64 tokens all of them; all are in memory."""
    expert = 3 * 4096 * 14336 * 2
    one, many = (
        layer_of(graph_of("mixtral-8x7b", tmp_path, training=False, cached=100, micro_batch=n))[1] for n in (1, 64)
    )
    assert 2 * expert < forward(one).bytes < 2.1 * expert
    assert 8 * expert < forward(many).bytes < 8.2 * expert
    assert one.parameters == many.parameters > 8 * expert


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("llama-3-8b", {"training": True}, "give --mode inference too"),
        ("llama-3-8b", {"tokens": 4096}, "--cached-tokens and --sequence exclude each other"),
        ("llama-3-8b", {"context": 2, "interconnect": 1e11}, "cannot split the one new token"),
        ("t5-11b", {}, "another tower"),
        ("gpt2-xl", {"cached": 1024}, "1025 tokens are more than the model's table of 1024 positions"),
    ],
)
def test_what_no_decode_step_is_made_of(name: str, more: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(Unfit, match=message):
        graph_of(name, tmp_path, **({"training": False, "cached": 100} | more))  # type: ignore[arg-type]


def test_the_command_and_its_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "graph.yaml"
    flags = ["--mode", "inference", "--cached-tokens", "512", "--micro-batch", "8", "-o", str(path)]
    assert main(["import", "hf", "llama-3-8b", *flags]) == 0
    text = path.read_text(encoding="utf-8")
    assert "one new token of 8 sequences, each after 512 cached tokens" in text
    assert "--mode inference --micro-batch 8 --cached-tokens 512 --microbatches 16" in text.replace("\n# ", " ")
    assert "  sequence: 1\n" in text
    assert main(["import", "hf", "llama-3-8b", "--cached-tokens", "512", "-o", str(path)]) == 2
    assert "give --mode inference too" in capsys.readouterr().err

"""scripts/truth.py: its figures on small tables reckoned by hand, what a row stands for, and the page."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from measured_steps import published
from measured_steps.compared import Compared, by_value, choices, efficiency, memory, picked
from measured_steps.metrics import (
    Errors,
    choice,
    errors,
    fitted_efficiency,
    geometric_mean,
    percentile,
    ranks,
    regret,
    spearman,
)
from measured_steps.page import page
from measured_steps.scatter import ticks
from measured_steps.steps import GIB, Step, cluster_of, flops, model_of, one_line, read_steps, tables
from planner.importers.transformer.model import Mlp, Moe
from planner.prediction.outcome import Prediction
from planner.prediction.strategy import strategy_of
from planner.prediction.table import read_model_file

ROOT = Path(__file__).resolve().parents[2]

LLAMA = {
    **{"source": "mine", "model": "llama", "hidden": "8", "layers": "2", "heads": "4", "kv_heads": "2", "ffn": "16"},
    **{"head_dim": "2", "glu": "1", "vocab": "10", "tied": "0", "seq": "16", "gpu": "H100", "gpus": "16"},
    **{"gpus_per_node": "8", "tp": "2", "pp": "2", "dp": "4", "mbs": "1", "gbs": "16", "vpp": "1", "zero": "1"},
    **{"recompute": "none", "precision": "bf16", "framework": "NeMo 2", "status": "ok", "iter_s": "2.0", "mem_gb": "3"},
}


def step(**more: str) -> Step:
    return Step("mine", {**LLAMA, **more}, "", float(more.get("iter_s", "2")), 3.0 * GIB)


def compared(predicted: float | None, measured: float, fits: bool | None = True, **more: str) -> Compared:
    prediction = Prediction(predicted, 2.7 * GIB, fits, "" if predicted else "too odd")
    return Compared(step(iter_s=str(measured), **more), prediction, measured / 2)


def test_percentiles_interpolate() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 2.5
    assert percentile([float(i) for i in range(11)], 0.9) == pytest.approx(9.0)
    assert percentile([0.0, 10.0], 0.9) == pytest.approx(9.0)
    assert percentile([7.0], 0.9) == 7.0


def test_errors_and_their_bias() -> None:
    found = errors([(1.1, 1.0), (1.6, 2.0), (3.0, 4.0), (5.0, 5.0)])  # +0.1, -0.2, -0.25, 0
    assert found == Errors(4, pytest.approx(0.15), pytest.approx(0.235), pytest.approx(-0.1))


def test_ranks_share_their_mean() -> None:
    assert ranks([10.0, 30.0, 20.0]) == [1, 3, 2]
    assert ranks([5.0, 1.0, 5.0, 5.0]) == [3, 1, 3, 3]


def test_spearman() -> None:
    assert spearman([(1, 10), (2, 20), (3, 30)]) == pytest.approx(1)
    assert spearman([(1, 30), (2, 20), (3, 10)]) == pytest.approx(-1)
    assert spearman([(1, 10), (2, 30), (3, 20), (4, 40)]) == pytest.approx(0.8)  # 1 - 6 x 2 / (4 x 15)
    assert spearman([(1, 1), (1, 2), (1, 3)]) == 0
    assert spearman([(1, 1), (1, 2), (2, 3)]) == pytest.approx(1.5 / 3**0.5)  # ranks 1.5, 1.5, 3 and 1, 2, 3


def test_regret_of_the_first_picks() -> None:
    group = [(1.0, 6.0), (2.0, 5.0), (3.0, 4.5), (4.0, 4.0)]
    assert (regret(group, 1), regret(group, 3), regret(group, 4)) == (1.5, 1.125, 1.0)
    assert regret([(1.0, 3.0), (1.0, 2.0)], 1) == 1.5  # of equal ones, the first
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0)
    perfect = [(1.0, 2.0), (2.0, 3.0), (3.0, 4.0), (4.0, 5.0)]
    found = choice([group, perfect])
    assert (found.groups, found.first_worst, found.three_worst) == (2, 1.5, 1.125)
    assert (found.first, found.three) == (pytest.approx(1.5**0.5), pytest.approx(1.125**0.5))
    assert found.spearman == pytest.approx(0.0)  # the median of -1 and 1


def test_the_constant_leaves_no_bias() -> None:
    pairs = [(1.0, 2.0), (1.0, 4.0), (3.0, 4.0)]
    constant = fitted_efficiency(pairs)
    assert constant == 0.5
    assert errors([(predicted / constant, measured) for predicted, measured in pairs]).bias == 0


def test_the_one_line_model() -> None:
    """A layer: 12 x 16 weights of attention (heads and keys and values), 3 x 8 x 16 of the MLP; 8 x 10 of the head."""
    layer = 8 * 2 * (2 * 4 + 2 * 2) + 3 * 8 * 16
    assert flops(step()) == 6 * (2 * (layer + 4 * 2 * 16) + 80) * 16 * 16
    seconds = flops(step()) / (989e12 * 16)
    assert one_line(step(), cluster_of(step())) == pytest.approx(seconds * (1 + 1 / 4))  # 4 microbatches, 2 stages
    more = step(recompute="full", precision="fp8", vpp="2")
    assert one_line(more, cluster_of(more)) == pytest.approx(seconds / 2 * (1 + 1 / 8) * 4 / 3)


def test_what_a_row_stands_for() -> None:
    model = model_of(step())
    (layer,) = set(model.decoder.layers)
    assert layer.feed_forward == Mlp(16, gated=True) and not layer.norm_biases and model.positions == 0
    (layer,) = set(model_of(step(glu="0", model="gpt", tied="1")).decoder.layers)
    assert layer.feed_forward == Mlp(16, gated=False, bias=True) and layer.norm_biases and layer.attention.qkv_bias
    (layer,) = set(model_of(step(glu="0", model="mpt-1b")).decoder.layers)
    assert layer.feed_forward == Mlp(16, gated=False)
    mixed = model_of(step(experts="8", topk="2", moe_ffn="4", shared_experts="2", dense_layers="1")).decoder.layers
    assert [type(each.feed_forward) for each in mixed] == [Mlp, Moe]
    assert mixed[1].feed_forward == Moe(8, 2, 4, shared_width=8)
    cluster = cluster_of(step())
    assert len(cluster.devices) == 16 and len({device.node for device in cluster.devices}) == 2
    assert cluster.devices[0].type.name == "h100"
    small = cluster_of(step(gpu="A100-40GB", gpu_mem_gb="40")).devices[0]
    assert (small.type.name, small.memory) == ("a100", 36 * GIB)
    assert len({device.node for device in cluster_of(step(gpu="GB200")).devices}) == 1
    read = strategy_of(step(zero="1 (distributed optimizer)", precision="bf16 pure").strategy, 16)
    assert (read.tp, read.pp, read.dp, read.zero, read.precision, read.runtime) == (2, 2, 4, 1, "bf16", "megatron")
    names = {
        "nanotron 0.5": "nanotron",
        "Megatron-DeepSpeed": "megatron-deepspeed",
        "NeMo 2 / Megatron-Core": "megatron",
    }
    names |= {"llm-foundry / Composer / FSDP": "fsdp", "": "megatron"}
    assert {name: step(framework=name).runtime for name in names} == names


def test_what_is_left_out(tmp_path: Path) -> None:
    of_nanotron = {"framework": "nanotron 0.5", "mfu_pct": "20"}
    rows = [
        {},
        {"status": "failed (oom or crash)", "iter_s": ""},
        {**of_nanotron},
        {**of_nanotron, "mfu_pct": "3.9"},
        {**of_nanotron, "tp": "16"},
        {**of_nanotron, "gpus": "512"},
        {"mfu_pct": "3.9"},  # another framework: slow, not broken
    ]
    path = tmp_path / "mine.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*LLAMA, "mfu_pct"], restval="")
        writer.writeheader()
        writer.writerows({**LLAMA, **row} for row in rows)
    (tmp_path / "kernels.csv").write_text("gpu,ms\n", encoding="utf-8")
    assert tables(tmp_path) == [path]
    steps = read_steps(path)
    assert [each.left_out for each in steps] == [
        *("", "failed (out of memory or a crash)", "", "below 4 % MFU (a broken run)", "tensor parallel across nodes"),
        *("more than 256 GPUs", ""),
    ]
    assert (steps[0].seconds, steps[0].size, steps[1].seconds) == (2.0, 3 * GIB, None)


def test_groups_are_of_one_model_cluster_and_batch() -> None:
    some = [compared(1.0 + i, 2.0, mbs=str(i + 1)) for i in range(8)]
    other = [compared(1.0, 2.0, gbs="32") for _ in range(7)]
    odd = [compared(None, 2.0)]
    assert choices([*some, *other, *odd]) == [some]
    small = [compared(1.0, 4.0, fits=False), compared(2.0, 3.0), compared(3.0, 2.0, fits=None)]
    assert regret(picked(small), 1) == 1.5  # the first of those that fit
    assert (efficiency(small), memory(odd)) == (0.5, [(2.7 * GIB, 3 * GIB)])


def test_many_values_go_by_powers_of_two() -> None:
    rows = [compared(1.0, 1.0, mbs=str(i)) for i in (*range(1, 10), 100)]
    assert [(name, len(some)) for name, some in by_value("mbs", rows)] == [
        *(("1", 1), ("2-3", 2), ("4-7", 4), ("8-15", 2), ("100", 1))
    ]
    assert [name for name, _ in by_value("mbs", rows[:3])] == ["1", "2", "3"]
    assert [name for name, _ in by_value("microbatches", rows[:1])] == ["4"]


def test_the_page_counts_and_names() -> None:
    rows = [compared(1.1, 1.0, mbs=str(i)) for i in range(1, 9)]
    rows += [compared(1.1, 1.0, fits=False), compared(None, 1.0)]
    text = page({"mine": rows}, {"mine": "mine.svg"})
    assert "| mine | 10 | 0 | 1 | 9 | 10.0 % | 10.0 % | +10.0 % | 0.500 | 0.0 % | 0.0 % |" in text
    assert "| mine | 10 | 10.0 % | 10.0 % | -10.0 % | 1 of 10 (10.0 %) | - |" in text
    assert "- not predicted, too odd: 1 rows" in text and "](mine.svg)" in text
    assert "- mine: as its table says" in text


def test_deepseek_v3_is_what_its_config_says() -> None:
    """The same model as from its config.json; the strategy is one of the cluster."""
    path = ROOT / "configs" / "models" / "deepseek-v3.json"
    assert replace(read_model_file(path), family="deepseek_v3") == published.deepseek_v3()
    assert strategy_of(published.STRATEGY, len(published.cluster().devices)).microbatches == 120
    assert published.tokens_a_second(20.0) == 1536
    assert "1,536 tokens/s/GPU, -0.5 %" in published.text(Prediction(20.0, None, None, ""))
    assert "**not, too odd**" in published.text(Prediction(None, None, None, "too odd"))


def test_ticks() -> None:
    assert ticks(0.3, 7) == pytest.approx([0.5, 1, 2, 5])
    assert ticks(0.05, 200) == pytest.approx([0.1, 1, 10, 100])


def test_the_script_on_a_table_of_its_form(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    sizes = {"hidden": "1024", "heads": "16", "kv_heads": "16", "head_dim": "64", "ffn": "4096", "seq": "1024"}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, LLAMA)
        writer.writeheader()
        writer.writerows({**LLAMA, **sizes, **more} for more in ({}, {"tp": "3"}, {"mbs": "2"}))
    out = [str(tmp_path / name) for name in ("truth.md", "rows.csv")]
    command = [sys.executable, "scripts/truth.py", "--table", str(path), "--page", out[0], "--rows", out[1]]
    ran = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert ran.stdout.startswith("| table | rows |")
    text = Path(out[0]).read_text(encoding="utf-8")
    assert "- not predicted, tp 3 x cp 1 x pp 2 x dp 4 = 24 must be gpus 16: 1 rows" in text
    assert ElementTree.fromstring((tmp_path / "truth-mine.svg").read_bytes()).tag.endswith("svg")
    with Path(out[1]).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["predicted_s"] or 0) > 0 for row in rows] == [True, False, True]

"""Predictions: the same graphs and replays as plans, with calibrated times."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from planner.commands.app import main
from planner.costs.accelerator import accelerator
from planner.costs.collectives import collective_seconds
from planner.costs.kernels import gemm_seconds
from planner.files import read_cluster, read_graph
from planner.importers.transformer.calibrated import SUSTAINED_ELSEWHERE, accelerator_of, sustained
from planner.importers.transformer.model import Model
from planner.prediction.outcome import Prediction
from planner.prediction.predictor import Predictor
from planner.prediction.strategy import Strategy, strategy_of
from planner.prediction.table import read_model_file
from planner.problem import Pass
from planner.problem.cluster import Cluster, Device, DeviceType, NetworkLevel
from planner.runtimes.registry import RUNTIMES

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs" / "models"


def model(name: str) -> Model:
    return read_model_file(CONFIGS / f"{name}.json")


def cluster(gpus: int, kind: str = "h100") -> Cluster:
    shipped = read_cluster(ROOT / "configs" / "clusters" / f"{kind}-8.yaml")
    first = shipped.devices[0]
    devices = tuple(Device(f"gpu{i}", "gpu", first.type, f"n{i // 8}", first.memory) for i in range(gpus))
    return replace(shipped, devices=devices)


def strategy(gpus: int, **columns: object) -> Strategy:
    given = {"gbs": "64", "seq": "4096"} | {name: str(value) for name, value in columns.items()}
    return strategy_of(given, gpus)


def predicted(name: str, gpus: int, **columns: object) -> Prediction:
    return Predictor(model(name), cluster(gpus)).predict(strategy(gpus, **columns))


def seconds(found: Prediction) -> float:
    assert found.seconds is not None, found.reason
    return found.seconds


def test_one_gpu_by_hand() -> None:
    """Llama 3 8B, one microbatch: its GEMMs alone are most of the step, at the rate that a step keeps."""
    found = predicted("llama-3-8b", 1, gbs=1, zero=0)
    h100 = replace(accelerator("h100"), derate=sustained("h100"))
    t = 4096
    shapes = [(t, 6144, 4096), (t, 4096, 4096), (t, 28672, 4096), (t, 4096, 14336)]
    forward = 32 * sum(gemm_seconds(h100, *shape) for shape in shapes) + gemm_seconds(h100, t, 128256, 4096)
    update = 8.03e9 * (4 + 2 * 12 + 2) / h100.memory_bandwidth  # gradient, state read and written, weight
    assert 3 * forward + update < seconds(found) < (3 * forward + update) * 1.25  # attention, norms, loss
    assert found.fits is False  # 18 bytes a weight
    assert found.bytes is not None
    assert found.bytes > 8.03e9 * 18


def test_a_larger_microbatch_is_not_slower_a_token() -> None:
    one, four = (seconds(predicted("llama-3-8b", 8, mbs=mbs, tp=2)) for mbs in (1, 4))
    assert four < one


def test_degrees_share_the_work_and_cost_communication() -> None:
    """Twice the GPUs by data parallelism: half the microbatches, and a reduction over nodes."""
    eight, sixteen = (seconds(predicted("llama-3-8b", gpus, tp=2, gbs=128)) for gpus in (8, 16))
    assert eight / 2 < sixteen < eight / 1.6
    inside, across = (seconds(predicted("llama-3.1-70b", 64, tp=tp, pp=4)) for tp in (8, 16))
    assert across > inside * 0.8  # sums over two nodes: hardly faster, though each rank computes half


def test_a_bubble_costs_what_it_should() -> None:
    """Uniform stages: (microbatches + stages - 1) / microbatches, embedding, head and transfers aside."""
    few, many = (seconds(predicted("llama-3.1-70b", 64, tp=8, pp=8, gbs=gbs)) for gbs in (8, 128))
    assert (few / (8 + 7)) / (many / (128 + 7)) == pytest.approx(1, rel=0.05)
    interleaved = seconds(predicted("llama-3.1-70b", 64, tp=8, pp=8, gbs=8, vpp=5))
    assert interleaved < few * 0.8


def test_recomputation_takes_time_and_frees_memory() -> None:
    none, full = (predicted("llama-3-8b", 8, tp=2, pp=2, recompute=what) for what in ("none", "full"))
    assert 1.2 < seconds(full) / seconds(none) < 1.4
    assert none.bytes is not None and full.bytes is not None
    assert full.bytes < none.bytes * 0.8


def test_zero_shards_memory() -> None:
    sizes = [
        predicted("llama-3-8b", 8, zero=zero, runtime="fsdp" if zero == 3 else "megatron").bytes for zero in range(4)
    ]
    assert all(a is not None and b is not None and a > b for a, b in pairwise(sizes))


def test_a_runtime_without_fusion_is_slower_and_keeps_more() -> None:
    fused, eager = (predicted("llama-3-8b", 8, tp=2, runtime=name) for name in ("megatron", "nanotron"))
    assert seconds(eager) > seconds(fused) * 1.1
    assert eager.bytes is not None and fused.bytes is not None
    assert eager.bytes > fused.bytes
    assert RUNTIMES["nanotron"].kept == 3


@pytest.mark.parametrize("name", sorted(RUNTIMES))
def test_every_runtime_predicts(name: str) -> None:
    columns = {"pp": 1, "zero": 3} if name == "fsdp" else {"pp": 2, "tp": 2}
    if name == "dualpipe":
        columns |= {"schedule": "dualpipe"}
    assert seconds(predicted("llama-3-8b", 8, runtime=name, **columns)) > 0


@pytest.mark.parametrize("name", ["qwen3-30b-a3b", "mixtral-8x7b", "deepseek-v3", "gemma-2-9b", "gpt2-xl"])
def test_families(name: str) -> None:
    longest = 1024 if name == "gpt2-xl" else 4096
    experts = 8 if name in ("qwen3-30b-a3b", "mixtral-8x7b", "deepseek-v3") else 1
    found = predicted(name, 64, pp=4, ep=experts, seq=longest, gbs=256)
    assert seconds(found) > 0


def test_deepseek_v3_as_its_report_trains_it() -> None:
    """1,543 tokens/s/GPU (arXiv 2412.19437): within a quarter, no constant fitted on it."""
    gpus = 2048
    row = {"pp": 16, "ep": 64, "gbs": 15360, "precision": "fp8", "schedule": "dualpipe", "runtime": "dualpipe"}
    found = Predictor(model("deepseek-v3"), cluster(gpus, "h800")).predict(strategy(gpus, recompute="selective", **row))
    assert 15360 * 4096 / seconds(found) / gpus == pytest.approx(1543, rel=0.25)


def test_what_cannot_be_predicted_has_a_reason() -> None:
    assert "must divide the 32 attention heads" in predicted("llama-3-8b", 64, tp=64).reason
    assert "and only 32 layers" in predicted("llama-3-8b", 64, pp=64).reason
    two = (DeviceType("h100", 80e9), DeviceType("a100", 80e9))
    mixed = Cluster("c", tuple(Device(k.name, k.name, k) for k in two), {k.name: k for k in two})
    with pytest.raises(ValueError, match="GPUs of one type, and the cluster has a100, h100"):
        Predictor(model("llama-3-8b"), mixed)


def test_the_calibration_of_a_type() -> None:
    """By the beginning of its name; others by their rates."""
    inside = NetworkLevel(450e9, 5e-6)
    assert accelerator_of(DeviceType("H100-SXM"), inside).name == "h100"
    assert accelerator_of(DeviceType("b200"), inside).derate == SUSTAINED_ELSEWHERE
    other = DeviceType("mi300x", peak_flops=1307e12, memory_bandwidth=5.3e12, efficiency=0.4)
    assert accelerator_of(other, inside).gemm["bf16"].peak == 1307e12 * 0.4
    with pytest.raises(ValueError, match="no peak_flops"):
        accelerator_of(DeviceType("mine"), inside)


def test_a_calibration_of_ones_own(tmp_path: Path) -> None:
    """Half the rates, from a file: twice the time of what they limit."""
    text = (ROOT / "planner" / "costs" / "data" / "h100.yaml").read_text(encoding="utf-8")
    own = tmp_path / "mine.yaml"
    own.write_text(re.sub(r"(?m)^derate: .*$", "derate: 0.435", text), encoding="utf-8")
    asked = strategy(8, tp=2)
    shipped, slower = (
        Predictor(model("llama-3-8b"), cluster(8), calibration=name).predict(asked) for name in ("h100", str(own))
    )
    assert 1.6 < seconds(slower) / seconds(shipped) < 2
    assert seconds(shipped) == seconds(Predictor(model("llama-3-8b"), cluster(8)).predict(asked))


def test_an_import_has_the_same_times(tmp_path: Path) -> None:
    """``import hf --calibration`` writes the seconds that predictions are made of."""
    out = tmp_path / "graph.yaml"
    flags = ["--tp", "2", "--dp", "4", "--interconnect", "50GB/s", "--calibration", "h100", "--quiet"]
    assert main(["import", "hf", str(CONFIGS / "llama-3-8b.json"), *flags, "-o", str(out)]) == 0
    times = {o.name: o.times for o in read_graph(out).operators}
    mlp, summed = times["layer.0.mlp"][Pass.F], times["layer.0.mlp_reduce"][Pass.F]
    h100 = replace(accelerator("h100"), derate=sustained("h100"))
    gemms = gemm_seconds(h100, 4096, 14336, 4096) + gemm_seconds(h100, 4096, 4096, 7168)
    assert isinstance(mlp, float)
    assert gemms < mlp < gemms * 1.25
    assert summed == pytest.approx(collective_seconds(h100, "all_reduce", 4096 * 4096 * 2, 2, 2, None))
    assert "by measured curves" in out.read_text(encoding="utf-8")

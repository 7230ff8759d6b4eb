"""Rows of the tables of measured steps: the model, the cluster and the strategy of each, and what was measured."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from measured_steps.fitted import fit_of
from planner.files.cluster_file import read_cluster
from planner.files.shipped import CLUSTERS, folder
from planner.importers.transformer.model import Attention, Head, Layer, Mlp, Model, Moe, Stack
from planner.problem.cluster import Cluster, Device, DeviceType, NetworkLevel

GIB = 2**30

RUNTIMES = {
    "nanotron": "nanotron",
    "megatron-deepspeed": "megatron-deepspeed",
    "nemo": "megatron",
    "megatron": "megatron",
    "llm-foundry": "fsdp",
    "torchtitan": "torchtitan",
}
"""The runtime by how the name of the framework begins."""

BROKEN_MFU = 4.0
"""Percent. Below it nanotron's runs are broken, as the README of the tables says."""

MOST_GPUS = 256
"""Of nanotron: beyond it the README judges nothing."""

NODE_GB200 = 72


@dataclass(frozen=True)
class Step:
    """One row of a table. ``size``: bytes of the fullest rank, where that was measured."""

    table: str
    row: Mapping[str, str]
    left_out: str  # why it is not compared; empty: it is
    seconds: float | None
    size: float | None
    fitted: bool = False  # a constant was fitted on it, so that no error is stated on it
    broken: bool = False  # not measured, or left out as the README of the tables says

    def number(self, name: str, default: int = 1) -> int:
        """A whole number of the row; the default where it has none."""
        return int(float(self.row.get(name) or default))

    @property
    def strategy(self) -> dict[str, str]:
        """The strategy as ``planner predict`` takes it."""
        row = self.row
        names = ("gpus", "tp", "cp", "ep", "pp", "dp", "vpp", "mbs", "gbs", "seq", "recompute")
        strategy = {name: row.get(name) or "" for name in names}
        strategy["zero"] = (row.get("zero") or "1").split(" ")[0]
        strategy["precision"] = self.precision
        strategy["runtime"] = self.runtime
        return strategy

    @property
    def runtime(self) -> str:
        """The runtime that stands for the row's framework."""
        name = (self.row.get("framework") or "").lower()
        return next((runtime for start, runtime in RUNTIMES.items() if name.startswith(start)), name or "megatron")

    @property
    def precision(self) -> str:
        """The first word: recipes (``fp8 delayed scaling``) and optimizers' (``bf16 pure``) are not told apart."""
        word = (self.row.get("precision") or "bf16").lower().split(" ")[0].split("-")[0]
        return "fp8" if word.startswith("fp8") else word

    @property
    def model_key(self) -> tuple[str, ...]:
        """What the model is made of, for rows of one model."""
        return tuple(self.row.get(name) or "" for name in MODEL_COLUMNS)

    @property
    def cluster_key(self) -> tuple[str, ...]:
        """What the cluster is made of."""
        return tuple(self.row.get(name) or "" for name in ("gpu", "gpu_mem_gb", "gpus", "gpus_per_node"))

    @property
    def group(self) -> tuple[str, ...]:
        """Rows among which a planner would choose: one model, cluster, framework and batch."""
        more = ("seq", "gbs", "precision", "framework", "release")
        return (self.table, *self.model_key, *self.cluster_key, *(self.row.get(name) or "" for name in more))


MODEL_COLUMNS = (
    *("model", "arch", "hidden", "layers", "heads", "kv_heads", "head_dim", "ffn", "glu", "vocab", "tied", "seq"),
    *("experts", "topk", "moe_ffn", "shared_experts", "dense_layers", "framework"),
)


def read_steps(path: Path) -> list[Step]:
    """The rows of a table, in its order."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [_step(path.stem, row) for row in csv.DictReader(file)]


def _step(table: str, row: Mapping[str, str]) -> Step:
    step = Step(table, row, "", _measured(row, "iter_s"), None)
    memory = _measured(row, "mem_gb")
    step = replace(step, size=None if memory is None else memory * GIB)
    why = _left_out(step)
    fit = fit_of(table, row)
    fitted = "" if fit is None else f"a constant was fitted on it ({fit.rows})"
    return replace(step, left_out=why or fitted, fitted=fit is not None, broken=bool(why))


def _measured(row: Mapping[str, str], name: str) -> float | None:
    value = float(row.get(name) or 0.0)
    return value if value > 0 else None


def _left_out(step: Step) -> str:
    if step.row.get("status", "ok") != "ok" or step.seconds is None:
        return "failed (out of memory or a crash)"
    if step.runtime != "nanotron":
        return ""
    if 0 < float(step.row.get("mfu_pct") or 100.0) < BROKEN_MFU:
        return f"below {BROKEN_MFU:g} % MFU (a broken run)"
    if step.number("tp") > step.number("gpus_per_node", 8):
        return "tensor parallel across nodes"
    return f"more than {MOST_GPUS} GPUs" if step.number("gpus") > MOST_GPUS else ""


def model_of(step: Step) -> Model:
    """The model of a row: Llama-like with a gated MLP, GPT-like without."""
    n = step.number
    hidden, layers, heads = n("hidden"), n("layers"), n("heads")
    gated = bool(n("glu", 0))
    biased = not gated and not (step.row.get("model") or "").startswith("mpt")  # MPT has none
    attention = Attention(
        heads,
        n("kv_heads", heads),
        n("head_dim", hidden // heads),
        qkv_bias=biased,
        output_bias=biased,
        rotary=gated,
    )
    dense = Layer(attention, Mlp(n("ffn"), gated=gated, bias=biased), norm_biases=biased)
    stack = [dense] * layers
    if n("experts", 0):
        width = n("moe_ffn", n("ffn"))
        moe = Moe(n("experts"), n("topk"), width, shared_width=width * n("shared_experts", 0))
        first = n("dense_layers", 0)
        stack = [dense] * first + [replace(dense, feed_forward=moe)] * (layers - first)
    return Model(
        vocabulary=n("vocab"),
        decoder=Stack(hidden, tuple(stack), final_norm=hidden * (2 if biased else 1)),
        head=Head(tied=bool(n("tied", 0))),
        positions=0 if gated else n("seq"),
        longest=n("seq"),
        family="llama" if gated else "gpt2",
    )


def cluster_of(step: Step) -> Cluster:
    """The cluster of a row: as many nodes of the shipped cluster of that GPU as its ranks take."""
    shipped, gpu = _shipped(step.row.get("gpu") or "H100")
    given = step.number("gpu_mem_gb", 0) * 1e9
    kind = gpu
    if given and gpu.memory is not None and abs(given / gpu.memory - 1) > 0.15:  # another size, such as 40 GB
        kind = replace(gpu, memory=given / 1e9 * GIB - 4 * GIB)
    node = NODE_GB200 if kind.name.startswith("gb") else step.number("gpus_per_node", 8)
    return _of(shipped, kind, step.number("gpus"), node)


def shipped_cluster(gpu: str, gpus: int, node: int) -> Cluster:
    """So many GPUs of the shipped cluster of that GPU, ``node`` to a node."""
    return _of(*_shipped(gpu), gpus, node)


def _of(shipped: Cluster, kind: DeviceType, gpus: int, node: int) -> Cluster:
    devices = tuple(Device(f"gpu{i}", "gpu", kind, f"n{i // node}", kind.memory) for i in range(gpus))
    return replace(shipped, name=f"{kind.name}x{gpus}", devices=devices, types={kind.name: kind}, path="")


@cache
def _shipped(gpu: str) -> tuple[Cluster, DeviceType]:
    name = gpu.lower().split("-")[0].split("_")[0].split(" ")[0]
    if name in GRACE:
        kind = GRACE[name]
        return Cluster(name, (), {}, NetworkLevel(900e9, 5e-6), NetworkLevel(50e9, 10e-6)), kind
    path = folder() / CLUSTERS / f"{name}-8.yaml"
    if not path.is_file():
        known = sorted(each.stem.removesuffix("-8") for each in path.parent.glob("*.yaml"))
        raise SystemExit(f"no cluster is known for GPU {gpu!r}: there are {', '.join([*known, *GRACE])}")
    cluster = read_cluster(path)
    return cluster, cluster.devices[0].type


GRACE: Mapping[str, DeviceType] = {
    "gb200": DeviceType("gb200", 186e9 - 4 * GIB, 2.5e15, 8e12, 0.4),
    "gb300": DeviceType("gb300", 279e9 - 4 * GIB, 2.5e15, 8e12, 0.4),
}
"""Data sheet of the GB200 and GB300 NVL72: memory, dense BF16, memory bandwidth; 900 GB/s of NVLink each way."""


def flops(step: Step) -> float:
    """FLOP of a step that count as useful: matrix products three times, causal attention at half; no recomputation."""
    model = model_of(step)
    hidden, total = model.decoder.hidden, float(model.decoder.hidden * model.vocabulary)
    for layer in model.decoder.layers:
        a, part = layer.attention, layer.feed_forward
        total += hidden * a.head_dim * (2 * a.heads + 2 * a.kv_heads)
        width = part.width if isinstance(part, Mlp) else part.per_token * part.width + part.shared_width
        total += hidden * width * (2 if isinstance(part, Mlp) and not part.gated else 3)
        total += a.heads * a.head_dim * step.number("seq")  # 2 products x half of the keys, in units of 2 FLOP
    return 6 * total * step.number("seq") * step.number("gbs")


def one_line(step: Step, cluster: Cluster) -> float:
    """Seconds at full efficiency: FLOP over peak, times the pipeline's bubble; a third more where all is recomputed."""
    n = step.number
    peak = (cluster.devices[0].type.peak_flops or 1.0) * (2 if step.precision == "fp8" else 1)
    microbatches = max(1, n("gbs") // (n("mbs") * n("dp")))
    bubble = 1 + (n("pp") - 1) / (n("vpp") * microbatches)
    return flops(step) / (peak * n("gpus")) * bubble * (4 / 3 if step.row.get("recompute") == "full" else 1)


def tables(folder_: Path) -> Sequence[Path]:
    """The tables of steps in a folder, those that have a column of step times."""
    found = []
    for path in sorted(folder_.glob("*.csv")):
        with path.open(encoding="utf-8-sig") as file:
            if "iter_s" in file.readline().strip().split(","):
                found.append(path)
    return found

"""Sailor's layer times on clusters of two kinds of GPU."""

from __future__ import annotations

from dataclasses import dataclass

from configurations.entries import entries
from configurations.tables import read_table
from configurations.text import GIB, Config, comment, header
from planner.importers.document import OperatorDraft
from planner.problem.graph import ByDevice, Pass

STATE = 4  # 32-bit weights, gradients and Adam's two moments
MICROBATCHES = 16


@dataclass(frozen=True)
class Kind:
    """Devices of one kind: the source's name of the GPU and the degree, how many GPUs that is, what they hold."""

    name: str
    gpus: int
    gib: int  # of one GPU
    reserve: int = 2  # GiB of one GPU


@dataclass(frozen=True)
class Setting:
    """A model on two machines, the slower one first."""

    name: str
    table: str
    model: str
    kinds: tuple[Kind, Kind]
    recomputed: bool
    network: str  # fields of between_nodes
    remark: str


SETTINGS = (
    Setting(
        "sailor-llama3-8b",
        "sailor_llama_3_8_mbs1",
        "Llama-3-8B, one sequence of 8192 tokens a microbatch",
        (Kind("A100-40_tp2", 2, 40), Kind("GH-96_tp1", 1, 96)),
        True,
        "bandwidth: 3.125 GB/s, latency: 50 us",
        "25 Gb/s Ethernet",
    ),
    Setting(
        "sailor-opt350",
        "sailor_opt_350_mbs4",
        "OPT-350M, 4 sequences a microbatch",
        (Kind("V100-16_tp1", 1, 16), Kind("A100-40_tp1", 1, 40)),
        False,
        "bandwidth: 1.25 GB/s, latency: 50 us",
        "10 Gb/s Ethernet",
    ),
)


def configs() -> list[Config]:
    """Both models."""
    return [_config(setting) for setting in SETTINGS]


def _config(s: Setting) -> Config:
    rows = read_table(s.table)
    sums = {
        kind.name: [sum(float(row[f"{kind.name} {way}"]) for row in rows) for way in ("forward", "backward")]
        for kind in s.kinds
    }
    weights = sum(int(row["weights"]) for row in rows)
    text = f"""
{s.model}, layer by layer, on {_devices(s)} at two ends of a slow link.

Source: github.com/eth-easl/sailor (MIT, ETH Zurich; artifact of SOSP 2025) sailor/Planner/simulations/profiles_tmp.json
and llm_info.json: {"; ".join(f"on {kind}, {f:.6f} s forward and {b:.6f} s backward" for kind, (f, b) in sums.items())};
{weights:,} B of weights.

- Device types are the source's "GPU_tpN": a device is N GPUs as one tensor-parallel group. Other types and degrees of
  the source are left out, and so are its `update` times, which a step pays once, not for every microbatch.
{_times(s)}
- `parameters`: {STATE} times the source's weights (32-bit weights, gradients, Adam's two moments).
{_activations(s)}
- `output`: the source's, as 32-bit floats.
- The source gives the embedding {int(rows[0]["weights"]):,} B and the head {int(rows[-1]["weights"]):,} B of weights;
  taken as they are.
"""
    graph = (
        header(s.name, "", text)
        + f"schema: planner/graph@1\nname: {s.name}\nmicrobatches: {MICROBATCHES}\noperators:\n"
        + entries(_operators(s, rows))
    )
    return Config(s.name, graph, _cluster(s))


def _devices(s: Setting) -> str:
    return " and ".join(f"four {kind.name}" for kind in s.kinds)


def _times(s: Setting) -> str:
    if s.recomputed:
        return """\
- `time`: blocks are recomputed (ours; they would keep 12 GB a microbatch otherwise, more than these devices have): the
  backward pass runs forward again and makes all gradients, so the input gradient takes forward + backward and there is
  no weight gradient of its own. The head's backward time is split in halves; the embedding's is weight gradient."""
    return """\
- `time`: the backward time is split in halves, the gradients of the input and of the weights (GEMMs of one size); the
  embedding's is weight gradient."""


def _activations(s: Setting) -> str:
    if s.recomputed:
        return "- `activation`: a block keeps its input, the others what the source says that they keep."
    return "- `activation`: what the source says that a layer keeps (32-bit floats, nothing recomputed)."


def _operators(s: Setting, rows: list[dict[str, str]]) -> list[OperatorDraft]:
    drafts: list[OperatorDraft] = []
    for row in rows:
        block = row["layer"].startswith("block")
        recomputed = block and s.recomputed
        times: dict[Pass, dict[str, float]] = {}
        for kind in s.kinds:
            forward, backward = (float(row[f"{kind.name} {way}"]) for way in ("forward", "backward"))
            if not drafts:
                passes = {Pass.F: forward, Pass.I: 0.0, Pass.W: backward}
            elif recomputed:
                passes = {Pass.F: forward, Pass.I: forward + backward}
            elif row["layer"] == "final_norm":
                passes = {Pass.F: forward, Pass.I: backward}
            else:
                passes = {Pass.F: forward, Pass.I: backward / 2, Pass.W: backward / 2}
            for which, value in passes.items():
                times.setdefault(which, {})[kind.name] = value
        last = row is rows[-1]
        drafts.append(
            OperatorDraft(
                row["layer"],
                {which: ByDevice(values) for which, values in times.items()},
                (drafts[-1].name,) if drafts else None,
                parameters=STATE * int(row["weights"]),
                activation=int(rows[0]["output"]) if recomputed else int(row["kept"]),
                output=0 if last else int(row["output"]),
            )
        )
    return drafts


def _cluster(s: Setting) -> str:
    types = "".join(
        f"  {kind.name}: {{memory: {kind.gpus * (kind.gib - kind.reserve) * GIB}}}"
        f"  # {kind.gpus} x ({kind.gib} GiB less {kind.reserve})\n"
        for kind in s.kinds
    )
    devices = "".join(
        f"  - {{name: {kind.name.split('-')[0].lower()}_, type: {kind.name}, count: 4, node: n{k}}}\n"
        for k, kind in enumerate(s.kinds)
    )
    return (
        comment(
            f"""
Two machines, {_devices(s)}, joined by {s.remark}.

- Memory: that of the GPUs less 2 GiB each for the CUDA context, buffers and workspace (our assumption).
- Network within a machine: 50 GB/s, a cautious figure for NVLink (our assumption). Latencies are ours.
"""
        )
        + f"schema: planner/cluster@1\nname: {s.name}-mixed\ndevice_types:\n{types}devices:\n{devices}"
        + "network:\n  within_node: {bandwidth: 50 GB/s, latency: 10 us}\n"
        + f"  between_nodes: {{{s.network}}}\n"
    )

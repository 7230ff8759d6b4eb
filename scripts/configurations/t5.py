"""T5-11B on V100, operator by operator: Aceso's profile."""

from __future__ import annotations

from dataclasses import replace

from configurations.entries import entries
from configurations.tables import read_table
from configurations.text import GIB, Config, comment, header
from planner.importers.document import OperatorDraft
from planner.problem.graph import Pass

MIB = 1024**2
STATE = 8  # bytes for each byte of FP16 weights
CARRIED = 4.0  # MiB of the encoder's output that Aceso's decoder operators pass on
RECOMPUTED = ("-score", "-softmax", "-dropout")  # of an attention
GROUP = 4  # GPUs of a tensor-parallel group
RESERVE = 4 * GIB
MICROBATCHES = 16


def configs() -> list[Config]:
    """The same graph on four devices and on eight."""
    return [_config(4), _config(8)]


def _config(devices: int) -> Config:
    name = f"t5-11b-v100x{devices}"
    rows = {row["operator"]: row for row in read_table("t5_11b")}
    total = {key: _total(rows, key) for key in ("forward", "backward", "weights", "activation")}
    kept = sum(int(row["copies"]) * _kept(label, row) for label, row in rows.items())
    graph = (
        header(
            name,
            "",
            f"""
T5-11B, operator by operator (821 operators), on {devices} devices: each stands for {GROUP} V100 that run in
tensor-parallel lockstep.

Source: Aceso's profile t5_11B_mbs1_tp4 (github.com/microsoft/SuperScaler,
profiler/profiled-time-eurosys/t5_11B_mbs1_tp4_algo0.csv, MIT): a microbatch of 1 sequence, one of the {GROUP} GPUs. All
its operators together, 24 encoder and 24 decoder layers: {total["forward"]:,.3f} us forward, {total["backward"]:,.3f}
us backward, {total["weights"]:,.3f} MiB of FP16 weights, {total["activation"]:,.3f} MiB of activations. The profile
holds each operator of a layer once; that the encoder's output is read by the cross-attention of every decoder layer,
and that the decoder's embedding is a source of its own, is ours, from the model.

- `time`: an operator with weights has its backward time split in halves, the gradients of its input and of its weights
  (two GEMMs of one size); for an embedding all of it is weight gradient; without weights all of it is input gradient.
- Selective recomputation (Korthikanti et al., arXiv 2205.05198), ours: scores, softmax and dropout of an attention
  keep nothing and run forward again in the backward pass, so their input gradient takes forward + backward.
- `parameters`: {STATE} times the FP16 weights: 2 bytes, FP16 gradients 2, FP32 master weights 4, Adam's moments 8 make
  16 bytes for 2. In all {total["weights"] * STATE / 1024:.1f} GiB.
- `activation`: the profile's, {kept / 1024:.2f} GiB a microbatch with what is recomputed left out.
- `output`: the profile's, which holds the residual stream; less {CARRIED:g} MiB in the decoder, where Aceso passes the
  encoder's output on from operator to operator (here it goes from the encoder to each device that reads it).
""",
        )
        + f"schema: planner/graph@1\nname: t5-11b\nmicrobatches: {MICROBATCHES}\noperators:\n"
        + _operators(rows)
    )
    return Config(name, graph, _cluster(devices))


def _operators(rows: dict[str, dict[str, str]]) -> str:
    """Embeddings and final norms stand alone; encoder and decoder layers are blocks."""
    encoder = [_draft(rows, label) for label in rows if label.startswith("enc-") and rows[label]["copies"] == "24"]
    decoder = [_draft(rows, label) for label in rows if label.startswith("dec-") and rows[label]["copies"] == "24"]
    return (
        entries([_draft(rows, "encoder-embedding")])
        + "  - block: encoder\n    repeat: 24\n    inputs: [encoder-embedding]\n    operators:\n"
        + entries(_chain(encoder), 6)
        + entries([_draft(rows, "enc-final-layernorm", "encoder"), _draft(rows, "decoder-embedding")])
        + "  - block: decoder\n    repeat: 24\n    inputs: [decoder-embedding]\n    operators:\n"
        + entries(_chain(decoder), 6)
        + entries(
            [_draft(rows, "dec-final-layernorm", "decoder"), _draft(rows, "t5-post-process", "dec-final-layernorm")]
        )
    )


def _chain(drafts: list[OperatorDraft]) -> list[OperatorDraft]:
    """Each reads the one before it; the queries, keys and values of cross-attention read the encoder as well."""
    out: list[OperatorDraft] = []
    for draft in drafts:
        reads: tuple[str, ...] | None = (out[-1].name,) if out else None
        if draft.name == "attention-qkv-2":
            assert reads is not None
            reads = (*reads, "enc-final-layernorm")
        out.append(replace(draft, inputs=reads))
    return out


def _draft(rows: dict[str, dict[str, str]], label: str, reads: str | None = None) -> OperatorDraft:
    row = rows[label]
    forward, backward, weights = (float(row[key]) for key in ("forward", "backward", "weights"))
    if "embedding" in label:
        passes = {Pass.F: forward, Pass.I: 0.0, Pass.W: backward}
    elif weights:
        passes = {Pass.F: forward, Pass.I: backward / 2, Pass.W: backward / 2}
    else:
        passes = {Pass.F: forward, Pass.I: backward + (forward if _recomputed(label) else 0.0)}
    in_decoder = label.startswith("dec")
    sent = max(0.0, float(row["output"]) - (CARRIED if in_decoder else 0.0))
    short = label if row["copies"] == "1" else label.split("-", 1)[1]
    return OperatorDraft(
        short,
        {which: value / 1e6 for which, value in passes.items()},
        None if reads is None else (reads,),
        parameters=STATE * weights * MIB,
        activation=_kept(label, row) * MIB,
        output=sent * MIB,
    )


def _recomputed(label: str) -> bool:
    stem = label.rstrip("-12") if label.startswith("dec-") else label
    return "-attention-" in label and "post" not in label and stem.endswith(RECOMPUTED)


def _kept(label: str, row: dict[str, str]) -> float:
    return 0.0 if _recomputed(label) else float(row["activation"])


def _total(rows: dict[str, dict[str, str]], key: str) -> float:
    return sum(int(row["copies"]) * float(row[key]) for row in rows.values())


def _cluster(devices: int) -> str:
    nodes = devices // 2
    head = comment(
        f"""
{nodes} machines of eight V100 SXM2 32 GB, two groups of {GROUP} on each: {devices} devices.

- Memory: a GPU's 32 GiB less 4 GiB for the CUDA context, communication buffers, workspace and the scores that are
  recomputed in the backward pass (0.9 GiB in an encoder layer).
- Network: NVLink, two links of 25 GB/s between the pairs of GPUs on which the two groups of a machine hold the same
  share; between machines 100 Gb/s InfiniBand, 12.5 GB/s, as in Aceso's evaluation. Latencies are ours.
"""
    )
    return (
        head
        + f"schema: planner/cluster@1\nname: v100-groups-x{devices}\n"
        + f"device_types:\n  v100x{GROUP}: {{memory: {32 * GIB - RESERVE}}}\ndevices:\n"
        + "".join(f"  - {{name: g{k}_, type: v100x{GROUP}, count: 2, node: n{k}}}\n" for k in range(nodes))
        + "network:\n  within_node: {bandwidth: 50 GB/s, latency: 5 us}\n"
        + "  between_nodes: {bandwidth: 12.5 GB/s, latency: 10 us}\n"
    )

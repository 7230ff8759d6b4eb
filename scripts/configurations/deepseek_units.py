"""DeepSeek-V3's measured operators with memory in units: the setting in which bounds and rivals are known."""

from __future__ import annotations

from configurations.deepseek_layer import ON_COMM, measured
from configurations.entries import entries
from configurations.text import Config, comment, header
from planner.importers.document import OperatorDraft
from planner.problem.graph import Stream

NAME = "deepseek-v3-units"
UNIT = 10**9  # bytes
LAYER_UNITS = 2  # of a layer's weights, gradients and optimizer state
CAP_UNITS = 52


def deepseek_units() -> Config:
    """32 layers of four colocated operators, eight devices, 20 microbatches."""
    compute = sum(sum(measured(o).values()) for o in ("attention", "experts")) * 32 * 20 / 8
    comm = sum(sum(measured(o).values()) for o in ON_COMM) * 32 * 20 / 8
    graph = (
        header(
            NAME,
            "--copies 2",
            f"""
32 MoE layers of DeepSeek-V3 in units of memory, on 8 pipeline devices: a setting whose bounds are known.

Times: means of the measured operators, as in configs/deepseek-v3-h800 (source there: the trace in
github.com/deepseek-ai/profile-data). The four operators of a layer share a device.

Memory: one unit is what a microbatch leaves in one layer, from the start of its attention's forward pass to the end
of its attention's weight gradient; written as 1 GB. A copy of a layer holds {LAYER_UNITS} units all step long. The
cap, {CAP_UNITS} units, is what DualPipe takes: 8 layer copies and 36 activations (9 microbatches in 4 layers).

A transfer between two devices takes 1.2 ms (the hidden state of 4096 tokens at 50 GB/s); nothing else of it counts,
so outputs have 0 bytes.

A device computes for {compute * 1e3:.0f} ms and communicates for {comm * 1e3:.0f} ms ({comm / compute:.0%}) of a
step. Makespans in ms, all within the cap of {CAP_UNITS} units:
- DualPipe replayed here: 4012 fused, 3975 unfused (`planner baseline dualpipe`, `dualpipe-unfused`), idle 38 % of
  compute; 3990 with the best packing of every fused chunk.
- No plan is shorter than 2876; none with one copy than 3088; none with layer l on device l mod 8 than 3117 (before a
  device's first gradient of an expert it can only run forward compute, and it frees no memory).
- Half of DualPipe's idle time is a makespan of 3238.
""",
        )
        + f"schema: planner/graph@1\nname: {NAME}\nmicrobatches: 20\noperators:\n"
        + "  - block: layer\n    repeat: 32\n    output: combine\n    operators:\n"
        + entries(_layer(), 6)
    )
    cluster = (
        comment(f"Eight devices with room for {CAP_UNITS} units of 1 GB; 1.2 ms from one to another, whatever is sent.")
        + f"schema: planner/cluster@1\nname: units-x8\ndevice_types:\n  gpu: {{memory: {CAP_UNITS * UNIT}}}\n"
        + "devices:\n  - {name: gpu, type: gpu, count: 8}\nnetwork:\n  within_node: {latency: 1.2 ms}\n"
    )
    return Config(NAME, graph, cluster)


def _layer() -> list[OperatorDraft]:
    """The layer's memory stands on its attention, which is first in F and last in I and W."""

    def operator(name: str, reads: str | None) -> OperatorDraft:
        first = reads is None
        return OperatorDraft(
            name,
            measured(name),
            None if reads is None else (reads,),
            Stream.COMM if name in ON_COMM else Stream.COMPUTE,
            parameters=LAYER_UNITS * UNIT if first else 0,
            activation=UNIT if first else 0,
            colocate="layer",
        )

    return [
        operator("attention", None),
        operator("dispatch", "attention"),
        operator("experts", "dispatch"),
        operator("combine", "experts"),
    ]

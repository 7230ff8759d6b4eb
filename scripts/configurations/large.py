"""A size at which programs slow down: 64 layers of four operators on 32 devices."""

from __future__ import annotations

from configurations.deepseek_figures import DEEPSEEK_MICROSECONDS, DeepSeekSizes
from configurations.deepseek_layer import moe_layer
from configurations.entries import entries
from configurations.text import GIB, Config, comment, header

NAME = "large-64x4"
LAYERS, DEVICES, NODES, MICROBATCHES, MANY = 64, 32, 4, 64, 160
CAP = 141 * 10**9 - 4 * GIB  # an H200 less what the CUDA context, buffers and workspace take


def large() -> Config:
    """64 MoE layers, 32 devices, 64 microbatches."""
    s = DeepSeekSizes()
    tasks = LAYERS * sum(len(passes) for passes in DEEPSEEK_MICROSECONDS.values())
    needs = 2 * s.layer_parameters + DEVICES * 2 * s.layer_activation
    graph = (
        header(
            NAME,
            "--time-limit 180",
            f"""
{LAYERS} MoE layers of four operators on {DEVICES} devices in {NODES} groups of machines: a test of size.

Layers, times and bytes are those of configs/deepseek-v3-h800 (derived there from DeepSeek's trace,
github.com/deepseek-ai/profile-data): {tasks} tasks a microbatch, {tasks * MICROBATCHES:,} in a step of {MICROBATCHES};
`--microbatches {MANY}` makes it {tasks * MANY:,}. DeepSeek-V3 has 58 such layers; this model is nobody's.

Memory: a device has {CAP / GIB:.1f} GiB, an H200's 141 GB less 4 GiB, so that 1F1B fits: two layers and {DEVICES}
microbatches in flight take {needs / GIB:.1f} GiB on the first device.
""",
        )
        + f"schema: planner/graph@1\nname: {NAME}\nmicrobatches: {MICROBATCHES}\noperators:\n"
        + f"  - block: layer\n    repeat: {LAYERS}\n    operators:\n"
        + entries(moe_layer(s), 6)
    )
    each = DEVICES // NODES
    cluster = (
        comment(
            f"""
{DEVICES} pipeline stages in {NODES} groups of machines: 50 GB/s from stage to stage within a group (one 400 Gb/s port a
GPU), 25 GB/s between groups (our assumption). Memory: see the graph.
"""
        )
        + f"schema: planner/cluster@1\nname: large-x{DEVICES}\ndevice_types:\n  gpu: {{memory: {CAP}}}\ndevices:\n"
        + "".join(f"  - {{name: n{k}_, type: gpu, count: {each}, node: n{k}}}\n" for k in range(NODES))
        + "network:\n  within_node: {bandwidth: 50 GB/s, latency: 10 us}\n"
        + "  between_nodes: {bandwidth: 25 GB/s, latency: 20 us}\n"
    )
    return Config(NAME, graph, cluster)

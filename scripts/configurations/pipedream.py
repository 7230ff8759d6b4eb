"""PipeDream's profiles on one machine of four V100."""

from __future__ import annotations

from configurations.entries import entries
from configurations.tables import read_table
from configurations.text import GIB, Config, comment, header
from planner.importers.measured.pipedream import STATE, Node, Profile, assumptions, operators_of

MICROBATCHES = 16


def configs() -> list[Config]:
    """A convolutional network with most of its time at the front, and a translation model with branches."""
    return [
        _config("vgg16", "VGG-16, minibatches of 128 images", "profiler/image_classification/profiles/vgg16/graph.txt"),
        _config(
            "gnmt",
            "GNMT, LSTM layers with attention between encoder and decoder",
            "profiler/translation/profiles/gnmt/graph.txt",
            "As measured: 0.016 ms backward for the bidirectional LSTM (node5), 6.949 ms for the embedding before it "
            "(node4); the profiler seems to have booked the one on the other.",
        ),
    ]


def _config(short: str, model: str, source: str, remark: str = "") -> Config:
    name = f"pipedream-{short}"
    rows = read_table(f"pipedream_{short}")
    nodes = tuple(
        Node(
            row["node"],
            row["kind"].split("(")[0],
            float(row["forward"]) / 1e3,
            float(row["backward"]) / 1e3,
            float(row["activation"]),
            float(row["parameters"]),
            "inplace" in row["kind"],
        )
        for row in rows
    )
    edges = tuple((row["node"], reader) for row in rows for reader in row["read_by"].split())
    forward, backward = (sum(float(row[key]) for row in rows) for key in ("forward", "backward"))
    weights = sum(node.weights for node in nodes)
    text = f"""
{model}, operator by operator, on 4 V100.

Source: github.com/msr-fiddle/pipedream {source} (MIT, Microsoft; the profile of the SOSP 2019 artifact):
{len(nodes)} operators, {forward:.3f} ms forward, {backward:.3f} ms backward, {weights:,.0f} B of 32-bit weights.
{remark} A minibatch of the profile is a microbatch here; PipeDream's own pipeline has no flush and stashes weights, a
step of {MICROBATCHES} of them with a flush is ours.

{assumptions(STATE)}
- What `planner import pipedream` makes of the same file is the same graph.
"""
    graph = (
        header(name, "", text)
        + f"schema: planner/graph@1\nname: {name}\nmicrobatches: {MICROBATCHES}\noperators:\n"
        + entries(operators_of(Profile(nodes, edges)))
    )
    return Config(name, graph, _cluster())


def _cluster() -> str:
    return (
        comment(
            """
One machine of four V100 16 GB on PCIe (PipeDream's Cluster-A, SOSP 2019, section 5).

- Memory: 16 GiB less 1 GiB for the CUDA context and workspace (our assumption).
- Network: PCIe 3.0 x16 reaches some 12 GB/s of its 15.75 in one direction. Latency is ours.
"""
        )
        + f"schema: planner/cluster@1\nname: v100x4\ndevice_types:\n  v100: {{memory: {15 * GIB}}}\ndevices:\n"
        + "  - {name: gpu, type: v100, count: 4}\nnetwork:\n  within_node: {bandwidth: 12 GB/s, latency: 10 us}\n"
    )

"""Training graphs of the device-placement paper of 2020, on six accelerators and a CPU."""

from __future__ import annotations

from configurations.entries import entries
from configurations.tables import read_table
from configurations.text import Config, header
from planner.importers.measured.msr import NOTES, Instance, Node, cluster_of, operators_of

BANDWIDTH = 2**31 * 1e3  # bytes/s: 2 GiB a millisecond, the quotient of size and cost in the source
MEMORY = 17_185_374_208
CPU_SLOWER = 10  # the source has the CPU at ten times the accelerator's latency


def configs() -> list[Config]:
    """BERT with 24 layers and ResNet-50."""
    return [
        _config(
            "bert24",
            "BERT with 24 layers",
            "41.7458 ms, proven by the authors' dynamic program; the best of all has 39.790 ms, proven with CP-SAT",
        ),
        _config("resnet50", "ResNet-50", "78.6318 ms, proven by the authors' dynamic program"),
    ]


def _config(short: str, model: str, optimum: str) -> Config:
    name = f"msr-{short}"
    rows = read_table(f"msr_{short}_training")
    names = {row["id"]: row["name"] for row in rows}
    nodes = tuple(
        Node(
            row["name"],
            float(row["acc"]) / 1e3,
            CPU_SLOWER * float(row["acc"]) / 1e3,
            float(row["memory"]),
            row["pass"] == "B",
            f"layer{row['group']}",
            float(row["output"]) / BANDWIDTH,
        )
        for row in rows
    )
    edges = tuple((row["name"], names[reader]) for row in rows for reader in row["read_by"].split())
    instance = Instance(6, 1, MEMORY, nodes, edges, BANDWIDTH)
    work = sum(node.accelerator or 0.0 for node in nodes) * 1e3
    text = f"""
{model} in training, layer by layer, on 6 accelerators and 1 CPU: a placement problem of "Efficient Algorithms for
Device Placement of DNN Graph Operators" (NeurIPS 2020).

Source: github.com/msr-fiddle/dnn-partitioning throughput-inputs/LayerGraphs/{short}_training.json (MIT, (c) 2020
Microsoft Corporation): {len(nodes)} nodes, {len(edges)} edges, {work:.3f} ms of work on accelerators, read as
milliseconds, ten times that on the CPU. There, the largest load of a device is to be small: the best contiguous split
has {optimum}. Here that is the period, the time between two microbatches
of a pipeline that never drains.

{NOTES}
- `parameters`: the source's bytes of a node on an accelerator; the CPU has no cap.
"""
    graph = (
        header(name, "--objective period", text)
        + f"schema: planner/graph@1\nname: {name}\nmode: inference\nmicrobatches: 1\noperators:\n"
        + entries(operators_of(instance))
    )
    cluster = cluster_of(instance, "acc6-cpu1", _devices())
    return Config(name, graph, cluster)


def _devices() -> str:
    return "\n".join(
        (
            "Six accelerators of 16 GB and one CPU, as in the source. A transfer takes one hop between accelerator and "
            "host and occupies the accelerators at its ends; the CPU pays for none.",
            "bandwidth: 2 GiB a millisecond, the quotient of size and cost in the source.",
        )
    )

"""The files in configs/clusters/ agree with the table of docs/clusters.md, and say where their figures are from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from planner.files import read_cluster
from planner.files.yaml_source import read_source
from planner.problem import Graph, Mode, Operator, Pass, Problem, Work
from planner.problem.quantities import (
    BYTES,
    BYTES_PER_SECOND,
    FLOP_PER_SECOND,
    FRACTION,
    parse_quantity,
)

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "configs" / "clusters"
PAGE = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
DIMENSIONS = (FLOP_PER_SECOND, BYTES_PER_SECOND, BYTES, FRACTION, BYTES_PER_SECOND, BYTES_PER_SECOND)
TABLE = {
    row[0]: [parse_quantity(text, dimension) for text, dimension in zip(row[1:], DIMENSIONS, strict=True)]
    for row in (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if re.match(r"\| [a-z0-9-]+\.yaml \|", line)
    )
}
NAMES = ["a100-8", "h100-8", "h800-8", "h200-8", "b200-8", "mi300x-8", "ascend-910b-8"]


def test_the_table_lists_the_files() -> None:
    assert set(TABLE) == {f"{name}.yaml" for name in NAMES} == {path.name for path in FOLDER.iterdir()}


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_those_of_the_table(name: str) -> None:
    cluster = read_cluster(FOLDER / f"{name}.yaml")
    (kind,) = cluster.types.values()
    assert cluster.name == name
    assert cluster.within_node is not None
    assert cluster.between_nodes is not None
    assert [
        kind.peak_flops,
        kind.memory_bandwidth,
        kind.memory,
        kind.efficiency,
        cluster.within_node.bandwidth,
        cluster.between_nodes.bandwidth,
    ] == TABLE[f"{name}.yaml"]
    assert len(cluster.devices) == 8
    assert {device.node for device in cluster.devices} == {"n0"}


@pytest.mark.parametrize("name", NAMES)
def test_comments_name_a_source_for_every_figure(name: str) -> None:
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    comment = " ".join(line.lstrip("# ") for line in lines if line.startswith("#"))
    for word in ("peak", "memory bandwidth", "efficiency:", "memory:", "latencies"):
        assert word in comment.lower()
    assert re.search(r"[a-z]+\.com/|[a-z]+\.com,|data sheet", comment)


@pytest.mark.parametrize("name", NAMES)
def test_roofline_takes_the_slower_of_compute_and_memory(name: str) -> None:
    cluster = read_cluster(FOLDER / f"{name}.yaml")
    flops, rate, *_ = TABLE[f"{name}.yaml"]
    efficiency = TABLE[f"{name}.yaml"][3]
    operators = (
        Operator("computes", {Pass.F: Work(flops=flops * efficiency * 2, bytes=rate)}),
        Operator("moves", {Pass.F: Work(flops=flops * efficiency, bytes=rate * 3)}, inputs=("computes",)),
    )
    problem = Problem(Graph("two", Mode.INFERENCE, 1, operators), cluster, 1)
    assert problem.duration[:, 0, 0].tolist() == pytest.approx([2.0, 3.0])


def test_two_machines_as_the_page_says(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(devices:\n.*?)```", PAGE, re.DOTALL)
    assert example is not None
    text = (FOLDER / "h100-8.yaml").read_text(encoding="utf-8")
    text = re.sub(r"devices:\n.*\n(?=network:)", lambda _: example[1], text)
    path = tmp_path / "cluster.yaml"
    path.write_text(text, encoding="utf-8")
    cluster = read_cluster(path)
    assert len(cluster.devices) == 16
    inside, between = cluster.level("a0", "a7"), cluster.level("a0", "b0")
    assert inside is not None
    assert between is not None
    assert (inside.bandwidth, between.bandwidth) == (450e9, 50e9)
    assert read_source(path).root["network"]["between_nodes"]["bandwidth"] == "50 GB/s"

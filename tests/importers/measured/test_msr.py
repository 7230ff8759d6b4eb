"""The JSON of msr-fiddle/dnn-partitioning: the graph, its devices, and whether the authors' load comes out."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from planner.commands.app import main
from planner.files import InputError, read_cluster, read_graph
from planner.importers.measured.msr import msr
from planner.problem import Mode, Problem


def node(number: int, acc: float, cpu: float, *, backward: int = 0, colour: int | None = None, on: int = 1) -> Any:
    entry = {"id": number, "supportedOnFpga": on, "cpuLatency": cpu, "fpgaLatency": acc, "isBackwardNode": backward}
    entry |= {"name": f"node{number}", "size": 10.0 * number}
    return entry | ({} if colour is None else {"colorClass": colour})


# Two layers and their gradients, and one node that only a CPU runs; 2000 bytes take 1 ms.
INSTANCE: dict[str, Any] = {
    "maxSizePerFPGA": 100.0,
    "maxFPGAs": 2,
    "maxCPUs": 1,
    "nodes": [
        node(2, 2.0, 20.0, colour=2),
        node(1, 1.0, 10.0, colour=1),
        node(3, 3.0, 30.0, backward=1, colour=1),
        node(4, 4.0, 40.0, backward=1, colour=2),
        node(5, 0.0, 5.0, on=0),
    ],
    "edges": [
        {"sourceId": 1, "destId": 2, "cost": 0.5, "size": 1000.0},
        {"sourceId": 3, "destId": 4, "cost": 0.25, "size": 64.0},
        {"sourceId": 2, "destId": 5, "cost": 0.5, "size": 1000.0},
    ],
}


def written(folder: Path, document: Any) -> Path:
    path = folder / "tiny.json"
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return path


def imported(folder: Path, document: Any, *flags: str) -> Problem:
    graph, cluster = folder / "graph.yaml", folder / "cluster.yaml"
    arguments = ["import", "msr", str(written(folder, document)), "-o", str(graph), "--cluster", str(cluster), *flags]
    assert main(arguments) == 0
    read = read_graph(graph)
    return Problem(read, read_cluster(cluster), read.microbatches)


def test_latencies_memory_and_colours_arrive(tmp_path: Path) -> None:
    problem = imported(tmp_path, INSTANCE)
    assert problem.graph.mode is Mode.INFERENCE
    assert [d.name for d in problem.cluster.devices] == ["acc0", "acc1", "cpu0"]
    index = problem.graph.index
    assert problem.duration[index["node4"], 0].tolist() == [0.004, 0.004, 0.04]
    assert problem.runs_on[index["node5"]].tolist() == [False, False, True]
    assert sorted(sorted(problem.operators[i].name for i in group) for group in problem.groups) == [
        ["node1", "node3"],
        ["node2", "node4"],
        ["node5"],
    ]
    assert problem.parameters.sum() == 150
    assert problem.cap[:2].tolist() == [100, 100] and problem.cap[2] == float("inf")
    assert problem.exclusive.tolist() == [True, True, False]


def test_every_transfer_takes_one_hop_whatever_its_size_in_the_file(tmp_path: Path) -> None:
    """The gradient's edge says 64 bytes and 0.25 ms: the cost counts."""
    problem = imported(tmp_path, INSTANCE)
    index = problem.graph.index
    for name, milliseconds in (("node1", 0.5), ("node2", 0.5), ("node3", 0.25)):
        assert problem.transfer(index[name], 0, 1) == pytest.approx(milliseconds * 1e-3, rel=1e-9)
        assert problem.transfer(index[name], 0, 2) == pytest.approx(milliseconds * 1e-3, rel=1e-9)
    assert problem.output[index["node1"]] == 1000


def test_sizes_may_be_missing_and_the_unit_may_be_another(tmp_path: Path) -> None:
    document = copy.deepcopy(INSTANCE)
    for edge in document["edges"]:
        del edge["size"]
    problem = imported(tmp_path, document, "--unit", "us")
    index = problem.graph.index
    assert problem.duration[index["node4"], 0, 0] == 4e-6
    assert problem.transfer(index["node1"], 0, 1) == pytest.approx(0.5e-6, rel=1e-9)


def test_the_planned_makespan_is_that_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All on one accelerator but node 5: layers and gradients, 10 ms, beside node 5 on the CPU after 1 + 2 + 0.5."""
    document = copy.deepcopy(INSTANCE) | {"maxFPGAs": 1}
    imported(tmp_path, document)
    files = [str(tmp_path / "graph.yaml"), str(tmp_path / "cluster.yaml")]
    assert main(["solve", *files, "--time-limit", "5", "--format", "json", "--quiet"]) == 0
    plan = json.loads(capsys.readouterr().out)
    # The output of node 2 leaves the accelerator busy for half a millisecond more.
    assert plan["makespan"] == pytest.approx(10.5e-3)


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("nodes",), {}, "nodes"),
        (("nodes",), [], "nodes"),
        (("maxFPGAs",), 1.5, "maxFPGAs"),
        (("maxSizePerFPGA",), "big", "maxSizePerFPGA"),
        (("nodes", 0), 7, "nodes[0]"),
        (("nodes", 0, "id"), 1, "nodes[1].id"),
        (("nodes", 0, "cpuLatency"), -1.0, "nodes[0].cpuLatency"),
        (("nodes", 0, "fpgaLatency"), None, "nodes[0].fpgaLatency"),
        (("edges", 1, "destId"), 9, "edges[1].destId"),
        (("edges", 1, "cost"), float("inf"), "edges[1].cost"),
        (("edges", 2), {"sourceId": 1, "destId": 5, "cost": 0.75}, "edges[2].cost"),
        (("edges", 2), {"sourceId": 4, "destId": 3, "cost": 0.75}, "edges[2]"),
    ],
)
def test_mistakes_name_the_field(tmp_path: Path, path: tuple[Any, ...], value: Any, field: str) -> None:
    document = copy.deepcopy(INSTANCE)
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    file = written(tmp_path, document)
    with pytest.raises(InputError) as error:
        msr(file)
    assert error.value.field == field and error.value.line is not None
    there = file.read_text(encoding="utf-8").splitlines()[error.value.line - 1]
    key = field.rpartition(".")[2]
    assert there.strip() == "{" or there.strip("0123456789, ") == "" or f'"{key}"' in there


def test_text_that_is_no_json_names_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.json"
    path.write_text('{"nodes": [\n1,,]}', encoding="utf-8")
    assert main(["import", "msr", str(path)]) == 2
    assert f"{path}:2: is not valid JSON" in capsys.readouterr().err


def test_the_cluster_must_be_a_file_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, graph = written(tmp_path, INSTANCE), tmp_path / "graph.yaml"
    for cluster in (str(path), str(graph), "-"):
        assert main(["import", "msr", str(path), "-o", str(graph), "--cluster", cluster]) == 2
    assert not graph.exists() and json.loads(path.read_text(encoding="utf-8")) == INSTANCE
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_absurd_numbers_are_refused_and_what_is_next_to_nothing_is_nothing(tmp_path: Path) -> None:
    document = copy.deepcopy(INSTANCE)
    document["nodes"][0]["fpgaLatency"] = 10**400
    with pytest.raises(InputError, match="fpgaLatency: must be a number from 0"):
        msr(written(tmp_path, document))
    document["nodes"][0]["fpgaLatency"] = 1e-40
    assert imported(tmp_path, document).duration[1, 0, 0] == 0

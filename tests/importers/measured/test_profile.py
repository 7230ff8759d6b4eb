"""Measured times into a graph: which rows mean which operators, what is kept, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.commands.app import main
from planner.files import InputError, read_graph
from planner.importers.measured.profile import profile
from planner.problem.graph import ByDevice, Graph, Pass, Work

GRAPH = """\
# six layers
schema: planner/graph@1
name: "1e3"
microbatches: 3
operators:
  - {name: embed, work: {forward: {bytes: 1 MB}, input_grad: {flops: 0}}, parameters: 1 GB}
  - block: layer
    repeat: 2
    inputs: [embed]
    operators:
      - {name: attention, time: {forward: 3 ms, input_grad: {a100: 4 ms, v100: 9 ms}}, colocate: one}
      - {name: mlp, inputs: [attention], time: {forward: 4 ms}, stream: compute, activation: 5 MiB, colocate: one}
  - {name: head, inputs: [layer], time: {forward: 2 ms}, parameters: 2 GB}
"""
HEAD = "operator,pass,device type,seconds\n"


def merged(folder: Path, rows: str, graph: str = GRAPH) -> tuple[Graph, str, list[str]]:
    (folder / "graph.yaml").write_text(graph, encoding="utf-8")
    (folder / "times.csv").write_text(rows, encoding="utf-8")
    text, remarks = profile(folder / "times.csv", folder / "graph.yaml")
    (folder / "out.yaml").write_text(text, encoding="utf-8")
    return read_graph(folder / "out.yaml"), text, remarks


def time(graph: Graph, name: str, which: Pass = Pass.F) -> object:
    cost = graph.operators[graph.index[name]].times[which]
    return dict(cost.seconds) if isinstance(cost, ByDevice) else cost


def test_a_row_for_an_operator_of_a_block_means_all_copies_and_the_block_stays(tmp_path: Path) -> None:
    graph, text, _ = merged(tmp_path, HEAD + "layer.attention,forward,h100,0.5 ms\n")
    assert time(graph, "layer.0.attention") == time(graph, "layer.1.attention") == {"h100": 0.0005}
    assert "block: layer" in text and "# six layers" in text
    assert (graph.name, graph.microbatches) == ("1e3", 3)  # a name that YAML could take for a number


def test_times_that_were_not_measured_stay(tmp_path: Path) -> None:
    graph, _, remarks = merged(tmp_path, HEAD + "layer.attention,I,a100,0.007\nhead,W,,1\n")
    assert time(graph, "layer.0.attention", Pass.I) == {"a100": 0.007, "v100": 0.009}
    assert time(graph, "head", Pass.W) == 1 and time(graph, "head") == 0.002
    assert time(graph, "layer.1.mlp") == 0.004
    assert graph.operators[graph.index["layer.1.mlp"]].activation == 5 * 2**20
    assert isinstance(time(graph, "embed"), Work)
    assert any("3 operators keep the times" in remark for remark in remarks)


def test_copies_measured_apart_are_written_out(tmp_path: Path) -> None:
    graph, text, remarks = merged(tmp_path, HEAD + "layer.1.attention,F,a100,0.001\n")
    assert time(graph, "layer.1.attention") == {"a100": 0.001} and time(graph, "layer.0.attention") == 0.003
    assert "block:" not in text and any("written out" in remark for remark in remarks)
    colocated = [o.colocate for o in graph.operators if o.name.startswith("layer.")]
    assert colocated[0] == colocated[1] != colocated[2] == colocated[3]
    assert graph.operators[graph.index["head"]].inputs == ("layer.1.mlp",)


def test_stars_match_and_the_median_of_runs_counts(tmp_path: Path) -> None:
    rows = "".join(f"layer.*.mlp,forward,h100,{value}\n" for value in (3, 100, 1))
    graph, text, remarks = merged(tmp_path, HEAD + rows)
    assert time(graph, "layer.0.mlp") == time(graph, "layer.1.mlp") == {"h100": 3}
    assert "block: layer" in text and any("median" in remark for remark in remarks)


def test_columns_come_in_any_order_with_others_beside_them(tmp_path: Path) -> None:
    rows = "run,seconds,Device_Type,pass,operator\n1,0.25,h100,input_grad,head\n\n# a remark\n2,0.75,h100,I,head\n"
    graph, _, _ = merged(tmp_path, rows)
    assert time(graph, "head", Pass.I) == {"h100": 0.5}


def test_work_is_replaced_where_every_pass_was_measured(tmp_path: Path) -> None:
    graph, _, _ = merged(tmp_path, HEAD + "embed,F,h100,0.1\nembed,W,h100,0.2\n")
    assert time(graph, "embed") == {"h100": 0.1} and time(graph, "embed", Pass.W) == {"h100": 0.2}
    assert time(graph, "embed", Pass.I) == 0
    with pytest.raises(InputError, match="embed has work in the graph and no row for weight_grad"):
        merged(tmp_path, HEAD + "embed,F,h100,0.1\n")


@pytest.mark.parametrize(
    ("rows", "line", "field"),
    [
        ("", 1, None),
        (HEAD, None, None),
        ("operator,pass,seconds\n", 1, "device type"),
        (HEAD + "hed,F,h100,1\n", 2, "operator"),
        (HEAD + "layer.2.mlp,F,h100,1\n", 2, "operator"),
        (HEAD + "x*,F,h100,1\n", 2, "operator"),
        (HEAD + "head,backward,h100,1\n", 2, "pass"),
        (HEAD + "head,F,h100,1\nhead,F,h100,soon\n", 3, "seconds"),
        (HEAD + "head,F,h100,-1\n", 2, "seconds"),
        (HEAD + "head,F,h100,nan\n", 2, "seconds"),
        (HEAD + "head,F,h100\n", 2, None),
        (HEAD + "head,F,h100,1\nhead,F,,1\n", None, "device type"),
    ],
)
def test_mistakes_name_line_and_column(tmp_path: Path, rows: str, line: int | None, field: str | None) -> None:
    with pytest.raises(InputError) as error:
        merged(tmp_path, rows)
    assert (error.value.line, error.value.field) == (line, field)


def test_the_command_can_replace_the_graph_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph, rows = tmp_path / "graph.yaml", tmp_path / "times.csv"
    graph.write_text(GRAPH, encoding="utf-8")
    rows.write_text(HEAD + "head,F,h100,1\n", encoding="utf-8")
    assert main(["import", "profile", str(rows), "--into", str(graph), "-o", str(graph)]) == 0
    assert time(read_graph(graph), "head") == {"h100": 1}
    assert capsys.readouterr().out == ""
    assert main(["import", "profile", str(rows), "--into", str(graph), "-o", str(rows)]) == 2

"""The examples of docs/import-measured.md are what the importers do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from planner.commands.app import main

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "import-measured.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(?:yaml)?\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_profile_gives_the_operator_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    around = (
        "node6 -- Dropout -- forward_compute_time=1, backward_compute_time=1, activation_size=1, parameter_size=1\n"
        "node8 -- View -- forward_compute_time=0, backward_compute_time=0, activation_size=1, parameter_size=0\n"
        "\tnode6 -- node7\n"
    )
    (tmp_path / "graph.txt").write_text(around + BLOCKS[0], encoding="utf-8")
    assert main(["import", "pipedream", str(tmp_path / "graph.txt")]) == 0
    assert BLOCKS[1] in capsys.readouterr().out


def test_the_rows_go_into_a_graph_with_these_operators(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = tmp_path / "graph.yaml"
    graph.write_text(
        "schema: planner/graph@1\noperators:\n"
        "  - {name: embed, time: {forward: 1}}\n"
        "  - block: layer\n    repeat: 4\n    inputs: [embed]\n    operators:\n"
        "      - {name: attention, time: {forward: 1}}\n"
        "      - {name: mlp, inputs: [attention], time: {forward: 1}, parameters: 1 GB}\n",
        encoding="utf-8",
    )
    (tmp_path / "times.csv").write_text(BLOCKS[2], encoding="utf-8")
    assert main(["import", "profile", str(tmp_path / "times.csv"), "--into", str(graph)]) == 0
    text = capsys.readouterr().out
    assert text.count("forward: {h100: 0.00295, a100: 0.0071}") == 4
    assert text.count("weight_grad: {h100: 0.0036}") == 1

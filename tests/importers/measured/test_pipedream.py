"""PipeDream's graph.txt: what is read, how the backward time is split, and what is said about a bad file."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.commands.app import main
from planner.files import InputError, read_graph
from planner.importers.measured.pipedream import operators_of, pipedream, read_profile
from planner.problem.graph import Pass

# A translation model in small, as the profiler prints one: an edge before its node's line, several outputs, a stage.
PROFILE = """\
node1 -- Input0 -- forward_compute_time=0.000, backward_compute_time=0.000, activation_size=0.0, parameter_size=0.000
node4 -- Embedding(32320, 8, padding_idx=0) -- forward_compute_time=0.073, backward_compute_time=6.949, \
activation_size=6291456.000, parameter_size=1000.000
node10 -- LSTM(8, 8) -- forward_compute_time=2.491, backward_compute_time=4.203, \
activation_size=[6291456.0; 131072.0; 131072.0], parameter_size=400.000 -- stage_id=1
node5 -- ReLU(inplace) -- forward_compute_time=0.064, backward_compute_time=0.128, activation_size=6291456.000, \
parameter_size=0.000
node11 -- __getitem__(0) -- forward_compute_time=0.000, backward_compute_time=0.000, activation_size=6291456.000, \
parameter_size=0.000
\tnode10 -- node11
\tnode4 -- node5
\tnode1 -- node4
\tnode5 -- node10
\tnode4 -- node10
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "graph.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_totals_are_those_of_the_profile(tmp_path: Path) -> None:
    operators = pipedream(written(tmp_path, PROFILE)).operators
    assert sum(o.times[Pass.F] for o in operators) == pytest.approx(2.628e-3)
    backward = sum(o.times.get(p, 0.0) for o in operators for p in (Pass.I, Pass.W))
    assert backward == pytest.approx(11.28e-3)
    assert sum(o.parameters for o in operators) == 3 * 1400


def test_operators_come_in_an_order_of_execution_and_keep_their_inputs(tmp_path: Path) -> None:
    operators = operators_of(read_profile(written(tmp_path, PROFILE)))
    names = ["node1.Input0", "node4.Embedding", "node5.ReLU", "node10.LSTM", "node11.__getitem__"]
    assert [o.name for o in operators] == names
    assert operators[3].inputs == ("node5.ReLU", "node4.Embedding")


def test_backward_is_split_by_who_needs_which_gradient(tmp_path: Path) -> None:
    """Weights and something to train before them: halves; nothing to train before: W; no weights: I."""
    of = {o.name: o.times for o in operators_of(read_profile(written(tmp_path, PROFILE)))}
    assert of["node4.Embedding"] == {Pass.F: 7.3e-05, Pass.I: 0.0, Pass.W: 6.949e-3}
    assert of["node10.LSTM"] == {Pass.F: 2.491e-3, Pass.I: 2.1015e-3, Pass.W: 2.1015e-3}
    assert of["node5.ReLU"] == {Pass.F: 6.4e-05, Pass.I: 1.28e-4}


def test_outputs_in_a_list_add_up_and_what_is_overwritten_is_not_kept(tmp_path: Path) -> None:
    of = {o.name: o for o in operators_of(read_profile(written(tmp_path, PROFILE)))}
    assert of["node10.LSTM"].output == of["node10.LSTM"].activation == 6291456 + 2 * 131072
    assert (of["node5.ReLU"].activation, of["node5.ReLU"].output) == (0, 6291456)
    assert (of["node11.__getitem__"].activation, of["node11.__getitem__"].output) == (0, 6291456)


def test_command_writes_a_graph_that_planner_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.yaml"
    source = written(tmp_path, PROFILE)
    assert main(["import", "pipedream", str(source), "-o", str(out), "--microbatches", "7", "--state", "4"]) == 0
    graph = read_graph(out)
    assert (graph.microbatches, len(graph.operators), capsys.readouterr().out) == (7, 5, "")
    assert sum(o.parameters for o in graph.operators) == 4 * 1400
    assert all(Pass.W not in o.times for o in graph.operators if not o.parameters)


@pytest.mark.parametrize(
    ("before", "after", "line", "field"),
    [
        ("=6.949", "=fast", 2, "backward_compute_time"),
        ("=6.949", "=-1", 2, "backward_compute_time"),
        ("=6.949", "=nan", 2, "backward_compute_time"),
        ("[6291456.0; 131072.0;", "[6291456.0; many;", 3, "activation_size"),
        (", parameter_size=1000.000", "", 2, "parameter_size"),
        ("node5 -- ReLU", "node4 -- ReLU", 4, "node4"),
        ("\tnode1 -- node4", "\tnode1 -- node44", 8, None),
        ("\tnode1 -- node4", "\tnode4 -- node4", 8, None),
        ("\tnode1 -- node4", "\tnode1", 8, None),
        ("\tnode1 -- node4", "\tnode11 -- node4", 9, None),
    ],
)
def test_mistakes_name_line_and_field(tmp_path: Path, before: str, after: str, line: int | None, field: str) -> None:
    path = written(tmp_path, PROFILE.replace(before, after, 1))
    with pytest.raises(InputError) as error:
        pipedream(path)
    assert (error.value.line, error.value.field) == (line, field)


def test_an_empty_file_and_a_missing_one_end_with_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "pipedream", str(written(tmp_path, "\n"))]) == 2
    assert main(["import", "pipedream", str(tmp_path / "none.txt")]) == 2
    assert main(["import", "pipedream", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "has no node" in lines[0] and "no such file" in lines[1] and "is a directory" in lines[2]


@pytest.mark.parametrize("state", ["nan", "-1", "inf"])
def test_state_is_a_number_from_0_to_1000(state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "pipedream", str(written(tmp_path, PROFILE)), f"--state={state}"]) == 2
    assert "--state" in capsys.readouterr().err

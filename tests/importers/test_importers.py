"""The registry of importers, and one that is registered: its options, its second file, its refusals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer

from planner.commands.app import main
from planner.files import read_graph
from planner.files.flag_values import UsageFault
from planner.importers.document import Document, OperatorDraft
from planner.importers.importer import AlsoWritten, Imported
from planner.importers.registry import IMPORTERS
from planner.problem import PASS_ORDER


@dataclass(frozen=True)
class LinesFlags:
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A line an operator.")]
    seconds: Annotated[float, typer.Option(metavar="S", help="Of every operator.")]
    listing: Annotated[str | None, typer.Option(metavar="FILE", help="Names there."), AlsoWritten("names")] = None


class Lines:
    name = "lines"
    help = "A line an operator."
    flags = LinesFlags

    def read(self, flags: LinesFlags) -> Imported:
        if flags.seconds == 13:
            raise UsageFault("--seconds 13 brings bad luck")
        names = flags.source.read_text(encoding="utf-8").split()
        drafts = [OperatorDraft(name, dict.fromkeys(PASS_ORDER, flags.seconds), ()) for name in names]
        return Imported.of(Document("lines", drafts, notes=("read",)), listing=" ".join(names))


@pytest.fixture(autouse=True)
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(IMPORTERS, "lines", Lines())
    Path("in.txt").write_text("a\nb\n", encoding="utf-8")


def test_names_are_those_of_the_entries() -> None:
    assert list(IMPORTERS)[:6] == ["pipedream", "msr", "profile", "hf", "onnx", "torch"]
    assert all(importer.name == name and importer.help for name, importer in IMPORTERS.items())


def test_graph_and_second_file_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "lines", "in.txt", "--seconds", "2", "-o", "g.yaml", "--listing", "names.txt"]) == 0
    assert [operator.name for operator in read_graph("g.yaml").operators] == ["a", "b"]
    assert Path("names.txt").read_text(encoding="utf-8") == "a b"
    assert capsys.readouterr().err.splitlines() == [
        "planner: read",
        "planner: written to g.yaml",
        "planner: names written to names.txt",
    ]
    assert main(["import", "lines", "in.txt", "--seconds", "2", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.out == Path("g.yaml").read_text(encoding="utf-8") and captured.err == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--seconds"),
        (["--seconds", "13"], "bad luck"),
        (["--seconds", "-1"], "the graph that came out"),
        (["--seconds", "1", "-o", "in.txt"], "-o in.txt is the input itself"),
        (["--seconds", "1", "--listing", "-"], "--listing takes the name of a file"),
        (["--seconds", "1", "-o", "g.yaml", "--listing", "g.yaml"], "--listing g.yaml is the graph itself"),
        (["--seconds", "1", "-o", "missing/g.yaml"], "missing"),
    ],
)
def test_refusals(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "lines", "in.txt", *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.out == "" and captured.err.count("\n") == 1
    assert Path("in.txt").read_text(encoding="utf-8") == "a\nb\n"

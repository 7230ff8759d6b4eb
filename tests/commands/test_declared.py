"""Options as fields of a dataclass: the signature they give, what plan.json records, and each declared once."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from planner.commands.declared import Help, OneOf, Recorded, command, recorded
from planner.commands.solve import SolveFlags
from planner.files.flag_values import UsageFault, ratio

PLANNER = Path(__file__).resolve().parents[2] / "planner"
COLOURS = ["red"]


def colours_in_words() -> str:
    return f"One of {len(COLOURS)}."


@dataclass(frozen=True)
class Paint:
    wall: Annotated[str, typer.Argument()]
    quiet: Annotated[bool, typer.Option("--quiet")] = False
    colour: Annotated[str, typer.Option(), OneOf(lambda: COLOURS), Help(colours_in_words), Recorded()] = "red"
    thin_by: Annotated[str | None, typer.Option(), Recorded(ratio)] = None


@dataclass(frozen=True)
class Brush:
    output: Annotated[str | None, typer.Option()] = None
    quiet: Annotated[bool, typer.Option("--other")] = False


def called(*arguments: str) -> list[Any]:
    seen: list[Any] = []

    def run(*flags: Any) -> int:
        seen.extend(flags)
        return 3

    made = command("paint", "Paints.", run, Paint, Brush)
    assert made.main(list(arguments), "paint", standalone_mode=False) == 3
    return seen


def test_each_dataclass_gets_its_fields() -> None:
    paint, brush = called("north", "--thin-by", "5%", "--output", "x", "--quiet")
    assert paint == Paint("north", True, "red", "5%")
    assert brush == Brush("x", True)  # the first one declares what both have
    assert recorded(paint) == {"colour": "red", "thin_by": 0.05}
    assert recorded(Paint("north")) == {"colour": "red", "thin_by": None}
    with pytest.raises(UsageFault, match="--thin-by must be a fraction"):
        recorded(Paint("north", thin_by="7"))


def test_choices_are_those_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception, match="blue"):
        called("north", "--colour", "blue")
    monkeypatch.setattr(f"{__name__}.COLOURS", ["red", "blue"])
    assert called("north", "--colour", "blue")[0].colour == "blue"
    assert type(called("north", "--colour", "blue")[0].colour) is str


def test_required_first_then_output_and_quiet_last() -> None:
    made = command("paint", "Paints.", lambda *_: 0, Paint, Brush)
    assert [parameter.name for parameter in made.params] == ["wall", "output", "colour", "thin_by", "quiet"]
    colour = made.params[2]
    assert getattr(colour, "help", None) == "One of 1."


def test_plan_json_has_the_options_in_the_order_of_help() -> None:
    names = [field.name for field in fields(SolveFlags)]
    options = list(recorded(SolveFlags(Path("g"), Path("c"))))
    assert options == [name for name in names if name in options]
    unrecorded = {
        "graph",
        "cluster",
        "output",
        "variants",
        "runtime",
        "start",
        "max_bubble",
        "beat",
        "compact",
        "format",
        "quiet",
    }
    assert set(names) - set(options) == unrecorded, "variants, a runtime and a start are recorded where they are given"


def declarations() -> Iterator[tuple[str, str]]:
    """Help texts of all options and arguments, with the file."""
    for path in PLANNER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("typer.Option", "typer.Argument"):
                yield from ((ast.unparse(k.value), path.name) for k in node.keywords if k.arg == "help")


def test_each_option_is_declared_once() -> None:
    """A help text stands in one place; options that several commands have stand in flags.py."""
    twice = [text for text, count in Counter(text for text, _ in declarations()).items() if count > 1]
    assert not twice
    assert len(list(declarations())) > 60


@dataclass(frozen=True)
class Sparse:
    colour: Annotated[str | None, typer.Option(), Recorded(always=False)] = None


def test_an_option_may_be_recorded_only_where_it_is_given() -> None:
    assert recorded(Sparse()) == {}
    assert recorded(Sparse("red")) == {"colour": "red"}

"""Options of several commands, each declared once. A command declares its own options in its file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from planner.commands.declared import Joined, OneOf, Recorded
from planner.files.errors import shown
from planner.files.flag_values import UsageFault, quantity
from planner.problem.quantities import BYTES
from planner.runtimes.names import ANY
from planner.runtimes.registry import RUNTIMES


class Format(StrEnum):
    """Values of ``--format``."""

    text = "text"
    json = "json"


def memory_size(flag: str, text: str) -> float:
    """The value of an option that takes a size, in bytes."""
    return quantity(flag, text, BYTES)


def variant_names(flag: str, text: str) -> tuple[str, ...] | None:
    """The versions that a value of ``--variants`` allows, ``NAME,NAME``; None: all."""
    names = [name.strip() for name in text.split(",")]
    if names == ["all"]:
        return None
    if not all(names):
        raise UsageFault(f"{flag}: takes all, base or names of variants joined by commas, not {shown(text)}")
    return tuple(dict.fromkeys(names))


def _runtimes() -> tuple[str, ...]:
    return tuple(RUNTIMES)


def _runtime(flag: str, name: str) -> str | None:
    """The name of a runtime; None for the device model as it is, which plans do not record."""
    return None if name == ANY else name


GraphFile = Annotated[Path, typer.Argument(metavar="GRAPH", help="graph.yaml: what one microbatch computes.")]
ClusterFile = Annotated[
    Path, typer.Argument(metavar="CLUSTER", help="cluster.yaml, or a shipped one, such as h100:8x8.")
]
PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="plan.json, or plan.json.gz.")]

_PLAN_GRAPH = typer.Option(metavar="GRAPH", help="The graph that the plan is for.")
_PLAN_CLUSTER = typer.Option(metavar="CLUSTER", help="The cluster that the plan is for.")
PlanGraph = Annotated[Path, _PLAN_GRAPH]
PlanCluster = Annotated[Path, _PLAN_CLUSTER]
MaybePlanGraph = Annotated[Path | None, _PLAN_GRAPH]
MaybePlanCluster = Annotated[Path | None, _PLAN_CLUSTER]

Output = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write the plan there; - prints it to stdout, .gz packs it."),
]
Compact = Annotated[
    bool, typer.Option("--compact", help="In plan.json, what the steady state repeats stands once; nothing is lost.")
]
OutputFormat = Annotated[Format, typer.Option("--format", help="json prints one JSON document and nothing else.")]
Picture = Annotated[str | None, typer.Option("--svg", metavar="FILE", help="Draw the plan as an SVG picture there.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", help="No progress on stderr, of notes only warnings; the report shrinks to one line.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
NoNotes = Annotated[bool, typer.Option("--quiet", help="No notes on stderr.")]

Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, metavar="S", help="Seed of the searches.")]
Microbatches = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Microbatches in one step.  [default: the graph's]"), Recorded()
]
Chunks = Annotated[
    int | None, typer.Option(min=1, metavar="V", help="Chunks per device, for layouts that take them."), Recorded()
]
MemoryCap = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Cap of every device, such as 80GiB.  [default: the cluster's]"),
    Recorded(memory_size),
]
Variants = Annotated[
    str | None,
    typer.Option(metavar="all|base|NAME[,NAME]", help="Variants that operators may be in.  [default: all]"),
    Joined(),
    Recorded(variant_names, always=False),
]
Runtime = Annotated[
    str,
    typer.Option(help="The framework that has to run the plan, as it runs it; any: the device model as it is."),
    OneOf(_runtimes),
    Recorded(_runtime, always=False),
]

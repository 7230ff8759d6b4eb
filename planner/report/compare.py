"""Several plans side by side: of one problem, or of one model and batch by different strategies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from planner.plan.plan import FIGURES, Figure, Plan
from planner.report.facts import PlanFacts
from planner.report.step import Part, WholeStep
from planner.report.strategies import (
    MEANING,
    STRATEGY_ROWS,
    TOKEN_ROWS,
    Row,
    are_strategies,
    different_steps,
    of_strategy,
    work_of,
)
from planner.report.tables import rendered, table
from planner.report.verdict import Verdict, verdict
from planner.report.words import NONE, Words, amount, digits_apart, gap, number, percent, plain, quotient, seconds, size

SCHEMA = "planner/comparison@1"

_DIGITS: dict[str, tuple[Words, Callable[[PlanFacts], float | None]]] = {
    "makespan": (seconds, lambda f: f.plan.makespan),
    "step time": (seconds, lambda f: f.plan.makespan),
    "lower bound": (seconds, lambda f: f.plan.lower_bound),
    "placement bound": (seconds, lambda f: f.plan.placement_lower_bound),
    "peak memory": (size, lambda f: f.peak_memory),
}
"""Rows in which figures that differ have digits enough to be told apart."""

_ROWS: tuple[Row, ...] = (
    ("origin", lambda f, _: plain(f.plan.origin)),
    ("status", lambda f, _: f.plan.status),
    ("makespan", lambda f, _: seconds(f.plan.makespan)),
    ("  / the first's", lambda f, first: quotient(f.plan.makespan, first.plan.makespan)),
    ("lower bound", lambda f, _: seconds(f.plan.lower_bound)),
    ("placement bound", lambda f, _: seconds(f.plan.placement_lower_bound)),
    ("gap", lambda f, _: gap(f.plan.gap)),
    ("bubble", lambda f, _: percent(f.plan.bubble_ratio)),
    ("  / the first's", lambda f, first: quotient(f.plan.bubble_ratio, first.plan.bubble_ratio)),
    ("bubble, all devices", lambda f, _: percent(f.plan.bubble_ratio_all)),
    ("span bubble", lambda f, _: percent(f.span_bubble_ratio)),
    ("microbatches/s", lambda f, _: NONE if f.throughput is None else number(f.throughput)),
    ("devices used", lambda f, _: str(len(f.working))),
    ("peak memory", lambda f, _: size(f.peak_memory)),
    ("over the cap", lambda f, _: "yes" if f.over_cap else "no"),
    ("copies", lambda f, _: str(f.plan.copies)),
    ("parameter sets", lambda f, _: number(f.parameter_sets, 3)),
    ("transfers", lambda f, _: f"{len(f.plan.transfers)}{' listed' if f.plan.repeated else ''}"),
)


def _figure_rows(key: str) -> tuple[Row, ...]:
    """Value, bound and gap of a figure of some objectives."""

    def cell(words: Callable[[Figure], str]) -> Callable[[PlanFacts, PlanFacts], str]:
        return lambda f, _: NONE if (figure := f.plan.figure(key)) is None else words(figure)

    return (
        (FIGURES[key].title, cell(lambda figure: amount(figure.value, figure.unit))),
        ("  bound", cell(lambda figure: amount(figure.bound, figure.unit))),
        ("  gap", cell(lambda figure: gap(figure.gap))),
    )


def _step_row(heading: str, value: Callable[[WholeStep], float | None]) -> Row:
    def cell(facts: PlanFacts, _: PlanFacts) -> str:
        step = facts.whole_step
        return NONE if step is None else seconds(value(step))

    return heading, cell


def _exposed(part: Part) -> Callable[[WholeStep], float | None]:
    return lambda step: step.exposed.get(part)


_OF_SOME: tuple[Row, ...] = (
    *TOKEN_ROWS,
    _step_row("last microbatch ends", lambda step: step.until),
    _step_row("after it", lambda step: step.after),
    *(_step_row(f"  {part}", _exposed(part)) for part in Part),
    ("variants", lambda f, _: ", ".join(f"{n} {plain(v)}" for v, n in f.variants.items()) or NONE),
    *(row for key in FIGURES for row in _figure_rows(key)),
)
"""Left out where no plan has such a figure."""


def different_problems(plans: Sequence[Plan]) -> list[str]:
    """How the plans' problems differ from the first one's, in words; empty if they do not."""
    found: dict[str, None] = {}
    first = plans[0]
    for plan in plans[1:]:
        for what, a, b in (("graph", first.graph, plan.graph), ("cluster", first.cluster, plan.cluster)):
            if a.sha256 != b.sha256:
                same = " (same name, other content)" if a.name == b.name else ""
                found[f"{what} {plain(a.name)!r} against {plain(b.name)!r}{same}"] = None
        if first.microbatches != plan.microbatches:
            found[f"{first.microbatches} microbatches against {plan.microbatches}"] = None
    return list(found)


class Comparison:
    """What a table of plans shows, in any format: title, differences, rows and what they mean."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self.facts = [PlanFacts(plan) for plan in plans]
        different = different_problems(plans)
        self.strategies = are_strategies(plans, different)
        self.title = plain(work_of(plans[0])) if self.strategies else _title(plans[0])
        self.differences = [] if self.strategies else different

    @property
    def rows(self) -> list[tuple[str, list[str]]]:
        """A heading and a cell for each plan."""
        facts = self.facts
        more = [row for row in _OF_SOME if any(row[1](f, facts[0]) != NONE for f in facts)]
        rows = map(self._told_apart, STRATEGY_ROWS if self.strategies else (*_ROWS, *more))
        return [(heading, [cell(f, facts[0]) for f in facts]) for heading, cell in rows]

    @property
    def meaning(self) -> list[str]:
        """What the rows mean, in sentences."""
        if self.strategies:
            return [_BUBBLE, *MEANING]
        lines = [_BUBBLE, _SETS]
        if any(f.whole_step is not None for f in self.facts):
            lines.append(_AFTER)
        if any(f.variants for f in self.facts):
            lines.append("variants: copies of operators in another variant than base.")
        return lines

    def _told_apart(self, row: Row) -> Row:
        if row[0] not in _DIGITS:
            return row
        words, value = _DIGITS[row[0]]
        digits = digits_apart(words, map(value, self.facts), 4 if words is size else 5)
        return row[0], lambda f, _: words(value(f), digits)


def compare_text(
    plans: Sequence[Plan], names: Sequence[str], width: int = 100, color: bool = False, held: Verdict | None = None
) -> str:
    """One row per figure, one column per plan; as many plans side by side as the width takes.

    ``held`` adds which plans no longer fit their inputs.
    """
    made_of = Comparison(plans)
    parts: list[RenderableType] = [Text(made_of.title, style="bold"), Text()]
    parts += [Text(f"Different problems: {line}", style="bold") for line in made_of.differences]
    parts += [Text(line, style="bold") for line in (() if held is None else held.notes)]
    across = max(1, (width - 22) // 20)
    longest = max(14, (width - 22) // min(across, len(plans)) - 3)
    rows = made_of.rows
    for start in range(0, len(plans), across):
        made = table([("", "left"), *((_heading(n, longest), "right") for n in names[start : start + across])])
        for heading, cells in rows:
            made.add_row(Text(heading), *map(Text, cells[start : start + across]))
        parts += [made, Text()]
    parts += [Text(line, style="dim") for line in made_of.meaning]
    return rendered(parts, width, color)


def _title(plan: Plan) -> str:
    microbatches = f"{plan.microbatches} microbatch{'' if plan.microbatches == 1 else 'es'}"
    return plain(f"{plan.graph.name} on {plan.cluster.name}, {microbatches}")


def _heading(name: str, longest: int) -> str:
    """The name of a file, cut at its beginning."""
    name = plain(name)
    return name if len(name) <= longest else "…" + name[-(longest - 1) :]


_BUBBLE = (
    "bubble: makespan minus the time in which a device's compute stream works, over the devices that run a task; span "
    "bubble: the same within a device's own first start and last end. Transfers never count as work."
)
_SETS = "parameter sets: devices that hold an operator's parameters, on average over the operators."

_AFTER = (
    "After the last microbatch each instant counts for the first part of the step that runs then anywhere: exchange of "
    "gradients, reduction, optimizer, gathering."
)


def compare_document(plans: Sequence[Plan], names: Sequence[str], held: Verdict | None = None) -> dict[str, Any]:
    """The comparison as one JSON document (``planner/comparison@1``), seconds and bytes.

    ``held`` adds what is allowed and which plans no longer fit their inputs.
    """
    different = different_problems(plans)
    first = PlanFacts(plans[0])
    held = held or verdict(plans, names, different)
    rows = [_row(name, PlanFacts(plan), first) for name, plan in zip(names, plans, strict=True)]
    for k, (row, by) in enumerate(zip(rows, held.slower_by, strict=True)):
        row["slower_by"] = by if math.isfinite(by) else None
        if held.allowed is not None:
            row["too_slow"] = k in held.too_slow
        if held.stale:
            row["stale"] = bool(held.stale[k])
    return {
        "schema": SCHEMA,
        "same_problem": not different,
        "same_model_and_batch": not different or not different_steps(plans),
        "differences": different,
        "measure": held.measure.value,
        **({} if held.allowed is None else {"fail_if_slower": held.allowed}),
        **({"notes": list(held.notes)} if held.stale else {}),
        "plans": rows,
    }


def _row(name: str, facts: PlanFacts, first: PlanFacts) -> dict[str, Any]:
    plan = facts.plan
    return {
        "file": name,
        "origin": plan.origin,
        "graph": {"name": plan.graph.name, "sha256": plan.graph.sha256},
        "cluster": {"name": plan.cluster.name, "sha256": plan.cluster.sha256},
        "microbatches": plan.microbatches,
        "status": plan.status,
        "makespan": plan.makespan,
        "lower_bound": plan.lower_bound,
        "placement_lower_bound": plan.placement_lower_bound,
        "gap": plan.gap,
        **{key: value for key, value, _ in plan.figure_fields()},
        "bubble_ratio": plan.bubble_ratio,
        "bubble_ratio_all": plan.bubble_ratio_all,
        "span_bubble_ratio": facts.span_bubble_ratio,
        "throughput": facts.throughput,
        "devices_used": len(facts.working),
        "peak_memory": facts.peak_memory,
        "over_cap": [device.name for device in facts.over_cap],
        "copies": plan.copies,
        "parameter_sets": facts.parameter_sets,
        **of_strategy(facts, first),
        **_of_step(facts),
        **({"variants": facts.variants} if facts.variants else {}),
    }


def _of_step(facts: PlanFacts) -> dict[str, Any]:
    """Seconds until and after the end of the last microbatch; nothing where there are microbatches only."""
    step = facts.whole_step
    if step is None:
        return {}
    parts = {part.name.lower(): step.exposed.get(part, 0.0) for part in Part}
    return {"step": {"until_last_microbatch": step.until, "after": step.after, **parts}}

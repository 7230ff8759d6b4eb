"""The comparison as docs/truth.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from measured_steps.compared import (
    LEAST_STRATEGIES,
    Compared,
    by_value,
    choices,
    efficiency,
    memory,
    number_of,
    picked,
)
from measured_steps.fitted import constants
from measured_steps.metrics import Choice, Errors, choice, errors
from measured_steps.words import GOALS, METHOD, NAMES, NOT_MODELLED, SOURCES, Goal

Results = Mapping[str, Sequence[Compared]]
"""The rows by table."""


def page(results: Results, pictures: Mapping[str, str], published: str = "") -> str:
    """The whole page; ``pictures``: files beside it, by table; ``published``: the section on DeepSeek-V3."""
    parts = [
        "# Measured steps\n\nWritten by scripts/truth.py; do not edit.\n",
        METHOD.format(least=LEAST_STRATEGIES, constants=constants()),
        "## Step time\n",
        _table(*_times(results)),
        "## Choice\n",
        _table(*_choices(results)),
        "## Memory\n",
        _table(*_memories(results)),
        "## What was to be reached\n",
        _table(*_goals(results)),
    ]
    if published:
        parts += ["## DeepSeek-V3 on 2,048 H800\n", published]
    for name, rows in results.items():
        parts += _of_table(name, rows, pictures.get(name))
    parts += ["## Not modelled\n", NOT_MODELLED, "## Sources of the tables\n", _sources(results)]
    return "\n".join(parts).rstrip("\n") + "\n"


def summary(results: Results) -> str:
    """The first tables as text."""
    parts = [_table(*_times(results)), _table(*_choices(results)), _table(*_memories(results))]
    return "\n".join(parts)


def counted(rows: Sequence[Compared]) -> list[Compared]:
    """The rows that are compared."""
    return [row for row in rows if row.counts]


def time_errors(rows: Sequence[Compared]) -> Errors:
    """Of the predictions."""
    return errors([row.times for row in rows])


def line_errors(rows: Sequence[Compared], constant: float) -> Errors:
    """Of the one-line model with this efficiency."""
    return errors([(row.line / constant, row.lines[1]) for row in rows])


def _percent(value: float, sign: bool = False) -> str:
    return f"{100 * value:+.1f} %" if sign else f"{100 * value:.1f} %"


def _figures(found: Errors) -> list[str]:
    return [_percent(found.median), _percent(found.p90), _percent(found.bias, sign=True)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown: the first column to the left, figures to the right."""
    if not rows:
        return "None.\n"
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _times(results: Results) -> tuple[list[str], list[list[str]]]:
    head = ["table", "rows", "left out", "not predicted", "compared", "median", "p90", "bias"]
    head += ["one line: constant", "median", "p90"]
    lines = []
    for name, rows in results.items():
        good = counted(rows)
        out = sum(bool(row.step.left_out) for row in rows)
        line = [name, str(len(rows)), str(out), str(len(rows) - out - len(good)), str(len(good))]
        if good:
            constant = efficiency(good)
            line += [*_figures(time_errors(good)), f"{constant:.3f}", *_figures(line_errors(good, constant))[:2]]
        lines.append(line + ["-"] * (len(head) - len(line)))
    return head, lines


def _regrets(found: Choice) -> list[str]:
    figures = (found.first, found.first_worst, found.three, found.three_worst)
    return [*(f"{figure:.3f}" for figure in figures), f"{found.spearman:.2f}"]


def _choices(results: Results) -> tuple[list[str], list[list[str]]]:
    head = ["table", "groups", "strategies", "by", "first pick", "worst", "best of three", "worst", "Spearman"]
    lines = []
    for name, rows in results.items():
        groups = choices(rows)
        if groups:
            many = str(sum(len(group) for group in groups))
            ours = choice([picked(group) for group in groups])
            line = choice([[row.lines for row in group] for group in groups])
            lines.append([name, str(len(groups)), many, "planner", *_regrets(ours)])
            lines.append(["", "", "", "one line", *_regrets(line)])
    return head, lines


def _memories(results: Results) -> tuple[list[str], list[list[str]]]:
    head = ["table", "rows with memory", "median", "p90", "bias", "measured runs called too large"]
    head += ["failed runs called too large"]
    lines = []
    for name, rows in results.items():
        found = memory(_measured(rows))
        figures = _figures(errors(found)) if found else ["-"] * 3
        failed = [row for row in rows if row.step.left_out.startswith("failed") and row.prediction.fits is not None]
        many = f"{sum(row.prediction.fits is False for row in failed)} of {len(failed)}" if failed else "-"
        lines.append([name, str(len(found)), *figures, _too_large(rows), many])
    return head, lines


def _measured(rows: Sequence[Compared]) -> list[Compared]:
    """Runs that ended, broken ones among them: their memory is sound."""
    return [row for row in rows if row.step.seconds and not row.step.left_out.startswith("failed")]


def _wrong(rows: Sequence[Compared]) -> tuple[int, int]:
    """Measured runs that are called too large, of how many."""
    told = [row for row in _measured(rows) if row.prediction.fits is not None]
    return sum(row.prediction.fits is False for row in told), len(told)


def _too_large(rows: Sequence[Compared]) -> str:
    wrong, told = _wrong(rows)
    return f"{wrong} of {told} ({_percent(wrong / told)})" if told else "-"


def _goals(results: Results) -> tuple[list[str], list[list[str]]]:
    lines = []
    for goal in GOALS:
        value = _reached(goal, results.get(goal.table, ()))
        if value is not None:
            ok = value >= goal.most if goal.least else value <= goal.most
            shown, wanted = (_shown(goal, each) for each in (value, goal.most))
            bound = "at least" if goal.least else "at most"
            lines.append([goal.table, goal.what, f"{bound} {wanted}", f"{'yes' if ok else '**no**'} ({shown})"])
    return ["table", "what", "goal", "reached"], lines


def _shown(goal: Goal, value: float) -> str:
    return f"{value:.3g}" if goal.figure in ("three", "spearman") else _percent(value)


def _reached(goal: Goal, rows: Sequence[Compared]) -> float | None:
    good, groups = counted(rows), choices(rows)
    if goal.figure in ("median", "p90") and good:
        return float(getattr(time_errors(good), goal.figure))
    if goal.figure in ("three", "spearman") and groups:
        return float(getattr(choice([picked(group) for group in groups]), goal.figure))
    if goal.figure == "memory" and (pairs := memory(_measured(rows))):
        return errors(pairs).median
    if goal.figure == "too large" and (told := _wrong(rows))[1]:
        return told[0] / told[1]
    return None


def _of_table(name: str, rows: Sequence[Compared], picture: str | None) -> Iterator[str]:
    yield f"## {name}\n"
    for what, many in Counter(row.step.left_out for row in rows if row.step.left_out).most_common():
        yield f"- left out, {what}: {many} rows"
    for what, many in Counter(row.prediction.reason for row in rows if _unpredicted(row)).most_common(8):
        yield f"- not predicted, {what}: {many} rows"
    good = counted(rows)
    if not good:
        return
    if picture:
        yield f"\n![Predicted and measured seconds of {name}]({picture})\n"
    yield _table(*_degrees(good))
    groups = choices(rows)
    if 0 < len(groups) <= 40:
        yield _table(*_groups(groups))


def _unpredicted(row: Compared) -> bool:
    return not row.step.left_out and row.prediction.seconds is None


def _degrees(good: Sequence[Compared]) -> tuple[list[str], list[list[str]]]:
    constant = efficiency(good)
    lines: list[list[str]] = []
    parted = set()  # a column that parts the rows as one before does says nothing new
    for column, title in NAMES.items():
        values = by_value(column, good)
        parts = frozenset(frozenset(map(id, some)) for _, some in values)
        if len(values) < 2 or parts in parted:
            continue
        parted.add(parts)
        for i, (value, some) in enumerate(values):
            ours, line = time_errors(some), line_errors(some, constant)
            shown = [title if i == 0 else "", value or "-", str(ours.count), *_figures(ours)]
            lines.append([*shown, _percent(line.median), _percent(line.bias, sign=True)])
    return ["by", "", "rows", "median", "p90", "bias", "one line: median", "bias"], lines


def _groups(groups: Sequence[Sequence[Compared]]) -> tuple[list[str], list[list[str]]]:
    lines = []
    for group in groups:
        one = group[0]
        found = choice([picked(group)])
        of = [number_of(column, one) for column in ("model", "gpus", "seq", "gbs")]
        figures = [f"{found.first:.3f}", f"{found.three:.3f}", f"{found.spearman:.2f}"]
        lines.append([*of, str(len(group)), *figures, *_figures(time_errors(group))])
    head = ["model", "GPUs", "tokens", "batch", "strategies", "first pick", "best of three", "Spearman"]
    return [*head, "median", "p90", "bias"], lines


def _sources(results: Results) -> str:
    found = dict.fromkeys(row.step.row.get("source") or row.step.table for rows in results.values() for row in rows)
    return "".join(f"- {name}: {SOURCES.get(name, 'as its table says')}\n" for name in found)

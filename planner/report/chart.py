"""A Gantt chart in letters: one row per device, one column per step of time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rich.text import Text

from planner.plan.plan import Plan, PlannedStepTask, PlannedTask
from planner.report.facts import PlanFacts
from planner.report.step import WORDS
from planner.report.words import cut, plain, seconds

STYLES = {
    "F": "bold blue",
    "I": "bold green",
    "W": "bold yellow",
    "R": "bold magenta",
    "U": "bold red",
    "G": "bold cyan",
    "·": "dim",
}
PASSES = {"F": "forward", "I": "input gradient", "W": "weight gradient", **WORDS}
IDLE = "·"
ROWS = 32
"""Devices drawn at most; a longer chart is hard to read in a terminal."""

INSTANT = 1e-6
"""How far an instant may lie from a whole step, relative to a step, and still count as one."""


@dataclass(frozen=True)
class _Row:
    """The label of a row, its letters and, under each, the number of its microbatch."""

    label: str
    letters: str
    numbers: str | None


def chart(plan: Plan, facts: PlanFacts, width: int) -> list[Text]:
    """The chart with its legend, line by line; empty where there is nothing to draw."""
    tasks = [task for task in facts.tasks if task.end > task.start]
    devices = [device.name for device in plan.devices]
    if not tasks or plan.makespan <= 0:
        return []
    shown = devices[:ROWS]
    label = min(16, max(len(name) for name in shown)) + (5 if facts.uses_comm else 0)
    columns = width - label - 3
    if columns < 20:
        return []
    step = _common_step(plan.makespan, tasks, columns)
    rows = _sampled(plan, facts, shown, columns) if step is None else _exact(plan, facts, shown, step)
    lines = []
    for row in rows:
        lines.append(_line(row.label.ljust(label), row.letters))
        if row.numbers is not None:
            lines.append(Text(" " * (label + 2) + row.numbers, style="dim"))
    lines.append(Text(" " * (label + 2) + _axis(plan.makespan, len(rows[0].letters)), style="dim"))
    lines.extend(Text(line, style="dim") for line in _legend(plan, facts, step, plan.makespan / columns))
    if len(shown) < len(devices):
        lines.append(Text(f"the first {ROWS} of {len(devices)} devices are drawn", style="dim"))
    return lines


def _line(label: str, letters: str) -> Text:
    line = Text(f"{label} |")
    for run in _runs(letters):
        line.append(run, STYLES.get(run[0].upper(), ""))
    return line.append("|")


def _runs(letters: str) -> Iterable[str]:
    start = 0
    for at in range(1, len(letters) + 1):
        if at == len(letters) or letters[at] != letters[start]:
            yield letters[start:at]
            start = at


def _common_step(makespan: float, tasks: list[PlannedTask | PlannedStepTask], columns: int) -> float | None:
    """The longest step of which every instant is a multiple, if the plan then fits the columns."""
    instants = np.array([t.start for t in tasks] + [t.end for t in tasks] + [makespan])
    shortest = min(t.end - t.start for t in tasks)
    for divisor in range(1, 13):  # the step need not be a task: lengths of 2 and 3 share a step of 1
        step = shortest / divisor
        if makespan / step > columns + 0.5:
            return None
        steps = instants / step
        if np.all(np.abs(steps - np.round(steps)) <= INSTANT * np.maximum(1.0, steps)):
            return float(step)
    return None


def _letter(task: PlannedTask | PlannedStepTask) -> str:
    """The pass; in lower case for every copy but the first."""
    return task.pass_ if task.copy == 0 else task.pass_.lower()


def _exact(plan: Plan, facts: PlanFacts, shown: list[str], step: float) -> list[_Row]:
    columns = round(plan.makespan / step)
    rows = []
    for name, stream, label in _streams(facts, shown):
        letters, digits = [IDLE] * columns, [" "] * columns
        numbers = {operator: k for k, operator in enumerate(facts.operators_of.get(name, ()))}
        for task in facts.tasks:
            if task.device == name and task.stream == stream:
                for column in range(round(task.start / step), min(columns, round(task.end / step))):
                    letters[column] = _letter(task)
                    if plan.microbatches > 1 and isinstance(task, PlannedStepTask):
                        digits[column] = " "
                    elif plan.microbatches > 1 and isinstance(task, PlannedTask):
                        digits[column] = _digit(task.microbatch, plan.microbatches)
                    else:  # a job shop: show the operator instead
                        digits[column] = _digit(numbers.get(task.operator, 0), len(numbers))
        rows.append(_Row(label, "".join(letters), "".join(digits)))
    return rows


def _sampled(plan: Plan, facts: PlanFacts, shown: list[str], columns: int) -> list[_Row]:
    """In each column the letter of the pass that takes most of it, where the stream works half of it or more."""
    kinds = "FIWfiwRUGrug"
    grid: dict[tuple[str, str], npt.NDArray[np.float64]] = {
        (name, stream): np.zeros((len(kinds), columns)) for name, stream, _ in _streams(facts, shown)
    }
    boxes: dict[tuple[str, str], list[tuple[int, float, float]]] = {key: [] for key in grid}
    number = {letter: k for k, letter in enumerate(kinds)}
    for task in facts.tasks:
        if (task.device, task.stream) in boxes:
            boxes[task.device, task.stream].append((number[_letter(task)], task.start, task.end))
    for key, drawn in boxes.items():
        if drawn:
            kind, start, end = np.array(drawn).T
            _add(grid[key], kind.astype(np.int64), start / plan.makespan * columns, end / plan.makespan * columns)
    rows = []
    for name, stream, label in _streams(facts, shown):
        table = grid[name, stream]
        busy = table.sum(axis=0) >= 0.5
        best = table.argmax(axis=0).tolist()
        letters = [kinds[k] if busy[column] else IDLE for column, k in enumerate(best)]
        rows.append(_Row(label, "".join(letters), None))
    return rows


def _add(
    table: npt.NDArray[np.float64],
    kind: npt.NDArray[np.int64],
    start: npt.NDArray[np.float64],
    end: npt.NDArray[np.float64],
) -> None:
    """Add what tasks (starts and ends in columns) cover of every column; the whole ones as steps up and down."""
    columns = table.shape[1]
    inside = start < columns
    kind, a, b = kind[inside], np.clip(start[inside], 0.0, columns), np.clip(end[inside], 0.0, columns)
    first, last = a.astype(np.int64), np.minimum(columns - 1, b.astype(np.int64))
    within = first == last
    amounts = np.where(within, [b - a, np.zeros(len(a))], [first + 1 - a, b - last])
    np.add.at(table, (np.repeat(kind, 2), np.array([first, last]).T.ravel()), amounts.T.ravel())  # task after task
    steps, longer = np.zeros((table.shape[0], columns + 1)), last > first
    np.add.at(steps, (kind[longer], first[longer] + 1), 1.0)
    np.add.at(steps, (kind[longer], last[longer]), -1.0)
    table += np.cumsum(steps, axis=1)[:, :-1]


def _streams(facts: PlanFacts, shown: list[str]) -> list[tuple[str, str, str]]:
    """Device, stream and label of every row; the communication stream only where the device uses it."""
    rows = []
    for name in shown:
        rows.append((name, "compute", plain(cut(name, 16))))
        if name in facts.uses_comm:
            rows.append((name, "comm", plain(cut(name, 16)) + " comm"))
    return rows


def _digit(number: int, count: int) -> str:
    if count <= 36:
        return "0123456789abcdefghijklmnopqrstuvwxyz"[number % 36]
    return str(number % 10)


def _axis(makespan: float, columns: int) -> str:
    """``0`` at the left end and the makespan at the right one."""
    right = seconds(makespan)
    return "0" + right.rjust(columns - 1)


def _legend(plan: Plan, facts: PlanFacts, step: float | None, sample: float) -> list[str]:
    passes = sorted({task.pass_ for task in facts.tasks}, key="FIWRUG".index)
    legend = ", ".join(f"{p} {PASSES[p]}" for p in passes) + f", {IDLE} idle"
    if any(task.copy for task in facts.tasks):
        legend += "; lower case: copy 1" + (" and above" if plan.copies > 2 else "")
    if step is None:
        lines = [
            legend,
            f"Too long for whole steps: a column is {seconds(sample, 3)}, its letter the pass that takes most of "
            "it; idle where the stream works less than half of it. Exact instants are in the plan file.",
        ]
    else:
        lines = [f"{legend}; a column is {seconds(step)}"]
        count = plan.microbatches
        below = "the microbatch's number"
        if plan.microbatches == 1:
            count = max(len(operators) for operators in facts.operators_of.values())
            below = "the operator's place in its device's row of the table, from 0"
        how = ", last digit" if count > 36 else ", in base 36" if count > 10 else ""
        lines[0] += f"; below each letter {below}{how}"
    if facts.uses_comm:
        lines.append("Rows marked comm are the communication streams; their tasks are no work of the device.")
    return lines

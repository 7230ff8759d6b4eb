"""The parts of a plan as the text of ``plan.json``, in the format that ``files/plan_file.py`` describes and reads."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Any

from planner.plan.compact import TASK_KEYS, TRANSFER_KEYS, Names, class_texts
from planner.plan.rows import (
    BaselineFigures,
    PlacedOperator,
    PlannedExchange,
    PlannedStepTask,
    PlannedTask,
    PlannedTransfer,
    PlanRepetition,
    PlanWindow,
    Source,
    Throughput,
    Unit,
)
from planner.problem.graph import BASE
from planner.timetable.figures import DeviceFigures

_encode = json.JSONEncoder(allow_nan=False, separators=(", ", ": ")).encode


def document(fields: Mapping[str, str]) -> str:
    """An object of these keys and texts, one a line."""
    return "{\n" + ",\n".join(f' "{name}": {text}' for name, text in fields.items()) + "\n}\n"


def compact(value: Any) -> str:
    """A value on one line."""
    return _encode(value)


def rows(values: Iterable[Any]) -> str:
    """A list with one row a line, so that two plans can be compared line by line."""
    return _lines(map(_encode, values))


def _lines(texts: Iterable[str]) -> str:
    joined = ",\n  ".join(texts)
    return f"[\n  {joined}\n ]" if joined else "[]"


def source_row(source: Source) -> dict[str, Any]:
    """The file that the plan was made from; what its graph was made from, where it says so."""
    row: dict[str, Any] = {"name": source.name, "sha256": source.sha256}
    if source.origin is None:
        return row
    return {**row, "mode": source.mode, "origin": source.origin.stated}


def throughput_row(throughput: Throughput) -> dict[str, Any]:
    """The step in tokens; what is not known is left out."""
    return {name: value for name, value in asdict(throughput).items() if value is not None}


def placed_row(placed: PlacedOperator) -> dict[str, Any]:
    """The device of a copy of an operator, and its variant where it is not base."""
    row = {"operator": placed.operator, "copy": placed.copy, "device": placed.device}
    return row if placed.variant == BASE else {**row, "variant": placed.variant}


def task_rows(tasks: Sequence[PlannedTask], step_tasks: Sequence[PlannedStepTask] = ()) -> str:
    """The rows of tasks, then those of step tasks. There may be many, so every name is encoded only once."""
    return _lines(chain(_task_rows(tasks), map(_encode, map(_step_row, step_tasks))))


def transfer_rows(transfers: Sequence[PlannedTransfer], exchanges: Sequence[PlannedExchange] = ()) -> str:
    """As the rows of tasks."""
    return _lines(chain(_transfer_rows(transfers), map(_encode, map(_exchange_row, exchanges))))


def task_classes(tasks: Sequence[PlannedTask], step_tasks: Sequence[PlannedStepTask], names: Names) -> str:
    """The same in the compact form: an object of classes, and of the rows that come once a step and copy."""
    return _classes(class_texts(tasks, TASK_KEYS, names), map(_step_row, step_tasks))


def transfer_classes(transfers: Sequence[PlannedTransfer], exchanges: Sequence[PlannedExchange], names: Names) -> str:
    """As the classes of tasks."""
    return _classes(class_texts(transfers, TRANSFER_KEYS, names), map(_exchange_row, exchanges))


def _classes(texts: Iterable[str], once: Iterable[dict[str, Any]]) -> str:
    more = rows(once)
    parts = [f'"classes": {_lines(texts)}', *([f'"once": {more}'] if more != "[]" else [])]
    return "{" + ", ".join(parts) + "}"


def _step_row(task: PlannedStepTask) -> dict[str, Any]:
    return {
        "operator": task.operator,
        "pass": task.pass_,
        "microbatch": None,
        "copy": task.copy,
        "device": task.device,
        "stream": task.stream,
        "start": task.start,
        "end": task.end,
    }


def _exchange_row(exchange: PlannedExchange) -> dict[str, Any]:
    return {
        "operator": exchange.operator,
        "pass": "R",
        "microbatch": None,
        "copy": exchange.copy,
        "from": exchange.source,
        "to": exchange.target,
        "start": exchange.start,
        "end": exchange.end,
    }


def _task_rows(tasks: Sequence[PlannedTask]) -> Iterator[str]:
    for operator, pass_, microbatch, copy, device, stream, start, end in _columns(tasks):
        yield (
            f'{{"operator": {operator}, "pass": {pass_}, "microbatch": {microbatch}, "copy": {copy}, '
            f'"device": {device}, "stream": {stream}, "start": {start}, "end": {end}}}'
        )


def _transfer_rows(transfers: Sequence[PlannedTransfer]) -> Iterator[str]:
    for operator, pass_, microbatch, copy, source, target, start, end in _columns(transfers):
        yield (
            f'{{"operator": {operator}, "pass": {pass_}, "microbatch": {microbatch}, "copy": {copy}, '
            f'"from": {source}, "to": {target}, "start": {start}, "end": {end}}}'
        )


def _columns(rows: Sequence[PlannedTask] | Sequence[PlannedTransfer]) -> Iterable[tuple[Any, ...]]:
    """The rows with everything as JSON has it, made column by column."""
    operator, pass_, microbatch, copy, where, there, start, end = (list(map(itemgetter(k), rows)) for k in range(8))
    names, more = (_words(operator), _words(pass_)), (_words(where), _words(there))
    numbers = (_integers(microbatch), _integers(copy))
    return zip(*names, *numbers, *more, _instants(start), _instants(end), strict=True)


def _words(names: Iterable[str]) -> Iterator[str]:
    return map(cache(_encode), names)


def _integers(values: Iterable[int]) -> Iterator[int]:
    return map(int, values)


def _instants(values: Sequence[float]) -> Iterator[str]:
    if not all(map(math.isfinite, values)):
        wrong = next(value for value in values if not math.isfinite(value))
        raise ValueError(f"{wrong} is no instant that JSON could hold")
    return map(float.__repr__, map(float, values))


def window_row(window: PlanWindow | None) -> dict[str, Any] | None:
    """The steady-state pattern; null where there is none."""
    if window is None:
        return None
    return {"start": float(window.start), "length": float(window.length), "microbatches": int(window.microbatches)}


def repetition_row(repeated: PlanRepetition) -> dict[str, Any]:
    """The part of the schedule that runs more often than it is listed."""
    return {
        "times": int(repeated.times),
        "start": float(repeated.start),
        "length": float(repeated.length),
        "microbatches": int(repeated.microbatches),
    }


def device_row(device: DeviceFigures) -> dict[str, Any]:
    """The figures of one device."""
    return {
        "name": device.name,
        "busy": float(device.busy),
        "bubble": float(device.bubble),
        "span_bubble": float(device.span_bubble),
        "peak_memory": _bytes(device.peak_memory),
        "peak_memory_at": float(device.peak_memory_at),
        "memory": _bytes(device.memory),
    }


def baseline_row(baseline: BaselineFigures) -> dict[str, Any]:
    """The figures of a baseline, or the reason alone; extra figures only where they are known."""
    if baseline.reason is not None:
        return {"name": baseline.name, "reason": baseline.reason}
    row: dict[str, Any] = {
        "name": baseline.name,
        "makespan": seconds(baseline.makespan),
        "bubble_ratio": seconds(baseline.bubble_ratio),
    }
    if baseline.span_bubble_ratio is not None:
        row["span_bubble_ratio"] = float(baseline.span_bubble_ratio)
    row["peak_memory"] = _bytes(baseline.peak_memory)
    if baseline.copies is not None:
        row["copies"] = baseline.copies
    if baseline.devices is not None:
        row["devices"] = baseline.devices
    row["fits"] = baseline.fits
    if baseline.variant is not None:
        row["variant"] = baseline.variant
    return row


def amount(value: float | None, unit: Unit) -> float | int | None:
    """A figure as JSON has it: devices are whole, bytes where they can be."""
    if value is None:
        return None
    return _bytes(value) if unit is Unit.BYTES else int(value) if unit is Unit.DEVICES else float(value)


def seconds(value: float | None) -> float | None:
    """Seconds, or a ratio, as JSON has it."""
    return None if value is None else float(value)


def _bytes(value: float | None) -> float | int | None:
    """Bytes as an integer where they are one."""
    if value is None:
        return None
    return int(value) if float(value).is_integer() else float(value)

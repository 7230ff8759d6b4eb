"""A plan as the text of ``plan.json``, in the format that ``plan_file`` describes and reads.

By itself, since whoever writes a plan need not load what checks one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

from planner.plan.plan import (
    SCHEMA,
    BaselineFigures,
    DeviceFigures,
    Plan,
    PlannedTask,
    PlannedTransfer,
    PlanWindow,
    Unit,
)


def plan_to_json(plan: Plan) -> str:
    """The content of ``plan.json``: the same text for the same plan, one row a line."""
    fields: dict[str, str] = {
        "schema": _compact(SCHEMA),
        "planner_version": _compact(plan.planner_version),
        "origin": _compact(plan.origin),
        "graph": _compact({"name": plan.graph.name, "sha256": plan.graph.sha256}),
        "cluster": _compact({"name": plan.cluster.name, "sha256": plan.cluster.sha256}),
        "options": _compact(dict(plan.options)),
        "microbatches": _compact(plan.microbatches),
        "objective": _compact(plan.objective),
        "status": _compact(plan.status),
        "makespan": _compact(float(plan.makespan)),
        "lower_bound": _compact(_seconds(plan.lower_bound)),
        "placement_lower_bound": _compact(_seconds(plan.placement_lower_bound)),
        "gap": _compact(_seconds(plan.gap)),
        **{key: _compact(_amount(value, unit)) for key, value, unit in plan.figure_fields()},
        "bubble_ratio": _compact(float(plan.bubble_ratio)),
        "bubble_ratio_all": _compact(float(plan.bubble_ratio_all)),
        "window": _compact(_window_row(plan.window)),
        "solve_seconds": _compact(float(plan.solve_seconds)),
        "placement": _rows({"operator": p.operator, "copy": p.copy, "device": p.device} for p in plan.placement),
        "tasks": _lines(_task_rows(plan.tasks)),
        "transfers": _lines(_transfer_rows(plan.transfers)),
        "devices": _rows(_device_row(device) for device in plan.devices),
        "baselines": _rows(_baseline_row(baseline) for baseline in plan.baselines),
        "notes": _rows(plan.notes),
    }
    return "{\n" + ",\n".join(f' "{name}": {text}' for name, text in fields.items()) + "\n}\n"


_encode = json.JSONEncoder(allow_nan=False, separators=(", ", ": ")).encode


def _compact(value: Any) -> str:
    return _encode(value)


def _rows(rows: Iterable[Any]) -> str:
    """A list with one row a line, so that two plans can be compared line by line."""
    return _lines(map(_encode, rows))


def _lines(rows: Iterable[str]) -> str:
    lines = ",\n  ".join(rows)
    return f"[\n  {lines}\n ]" if lines else "[]"


def _task_rows(tasks: Sequence[PlannedTask]) -> Iterator[str]:
    """Written out, since there are many: every name is encoded once, a number is as JSON has it."""
    for operator, pass_, microbatch, copy, device, stream, start, end in _columns(tasks):
        yield (
            f'{{"operator": {operator}, "pass": {pass_}, "microbatch": {microbatch}, "copy": {copy}, '
            f'"device": {device}, "stream": {stream}, "start": {start}, "end": {end}}}'
        )


def _transfer_rows(transfers: Sequence[PlannedTransfer]) -> Iterator[str]:
    """As the rows of tasks."""
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


def _window_row(window: PlanWindow | None) -> dict[str, Any] | None:
    if window is None:
        return None
    return {"start": float(window.start), "length": float(window.length), "microbatches": int(window.microbatches)}


def _device_row(device: DeviceFigures) -> dict[str, Any]:
    return {
        "name": device.name,
        "busy": float(device.busy),
        "bubble": float(device.bubble),
        "span_bubble": float(device.span_bubble),
        "peak_memory": _bytes(device.peak_memory),
        "peak_memory_at": float(device.peak_memory_at),
        "memory": _bytes(device.memory),
    }


def _baseline_row(baseline: BaselineFigures) -> dict[str, Any]:
    """The figures of a baseline, or the reason alone; extra figures only where they are known."""
    if baseline.reason is not None:
        return {"name": baseline.name, "reason": baseline.reason}
    row: dict[str, Any] = {
        "name": baseline.name,
        "makespan": _seconds(baseline.makespan),
        "bubble_ratio": _seconds(baseline.bubble_ratio),
    }
    if baseline.span_bubble_ratio is not None:
        row["span_bubble_ratio"] = float(baseline.span_bubble_ratio)
    row["peak_memory"] = _bytes(baseline.peak_memory)
    if baseline.copies is not None:
        row["copies"] = baseline.copies
    if baseline.devices is not None:
        row["devices"] = baseline.devices
    row["fits"] = baseline.fits
    return row


def _amount(value: float | None, unit: Unit) -> float | int | None:
    if value is None:
        return None
    return _bytes(value) if unit is Unit.BYTES else int(value) if unit is Unit.DEVICES else float(value)


def _seconds(value: float | None) -> float | None:
    return None if value is None else float(value)


def _bytes(value: float | None) -> float | int | None:
    """Bytes as an integer where they are one."""
    if value is None:
        return None
    return int(value) if float(value).is_integer() else float(value)

"""``plan.json``: reading and the JSON Schema, both from one description of the format; ``planner/plan/`` writes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, cast

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict, get_type_hints  # pydantic wants its own TypedDict below Python 3.12

from planner.files.compact_rows import Index, Seconds, TaskClass, TransferClass
from planner.files.errors import InputError, shown
from planner.files.json_source import JsonSource, Step, json_source, read_json_source
from planner.files.plan_origin import GraphRow, SourceRow, ThroughputRow, graph_source, throughput
from planner.files.yaml_source import field_path
from planner.plan.compact import TASK_KEYS, TRANSFER_KEYS, Expanded, Misfit, Names
from planner.plan.plan import (
    FIGURES,
    SCHEMA,
    BaselineFigures,
    DeviceFigures,
    Figure,
    PlacedOperator,
    Plan,
    PlannedExchange,
    PlannedStepTask,
    PlannedTask,
    PlannedTransfer,
    PlanRepetition,
    PlanWindow,
    Source,
    Unit,
    Unrestricted,
)
from planner.problem.graph import BASE

Bytes = Annotated[float, Field(description="bytes")]
Microbatch = Annotated[Index | None, Field(description="null: once a step and copy")]
PassName = Annotated[
    Literal["F", "I", "W", "R", "U", "G"],
    Field(
        description="F: forward, I: input gradient, W: weight gradient; once a step and copy R: reduction of the "
        "gradients, U: update by the optimizer, G: gathering of the parameters"
    ),
]


class PlacedRow(TypedDict):
    """The device of one copy of one operator."""

    operator: str
    copy: Index
    device: str
    variant: NotRequired[Annotated[str, Field(description="of the operator; left out: base")]]


TaskRow = TypedDict(
    "TaskRow",
    {
        "operator": str,
        "pass": PassName,
        "microbatch": Microbatch,
        "copy": Index,
        "device": str,
        "stream": Literal["compute", "comm"],
        "start": Seconds,
        "end": Seconds,
    },
)
TransferRow = TypedDict(
    "TransferRow",
    {
        "operator": Annotated[str, Field(description="the producer, for the gradient (pass I) too")],
        "pass": Annotated[Literal["F", "I", "R"], Field(description="R: the weights' gradient, to another copy")],
        "microbatch": Microbatch,
        "copy": Index,
        "from": str,
        "to": str,
        "start": Seconds,
        "end": Seconds,
    },
)


class CompactTasks(TypedDict):
    """The tasks in the compact form: what the rows of a class have in common stands once."""

    classes: list[TaskClass]
    once: NotRequired[Annotated[list[TaskRow], Field(description="the rows whose microbatch is null")]]


class CompactTransfers(TypedDict):
    """The transfers in the compact form: what the rows of a class have in common stands once."""

    classes: list[TransferClass]
    once: NotRequired[Annotated[list[TransferRow], Field(description="the rows whose microbatch is null")]]


class DeviceRow(TypedDict):
    """What one device does in the step."""

    name: str
    busy: Seconds
    bubble: Seconds
    span_bubble: Seconds
    peak_memory: Bytes
    peak_memory_at: Seconds
    memory: Annotated[float | None, Field(description="the cap in bytes; null: none")]


class BaselineRow(TypedDict):
    """A baseline on the same input, or the reason why it does not apply."""

    name: str
    makespan: NotRequired[float | None]
    bubble_ratio: NotRequired[float | None]
    span_bubble_ratio: NotRequired[float | None]
    peak_memory: NotRequired[float | None]
    copies: NotRequired[int | None]
    devices: NotRequired[Annotated[int | None, Field(description="how many run a task")]]
    fits: NotRequired[bool | None]
    reason: NotRequired[Annotated[str | None, Field(description="why the baseline does not apply")]]
    variant: NotRequired[Annotated[str | None, Field(description="of all operators that have it: the best that fits")]]


class UnrestrictedRow(TypedDict):
    """What a plan that no runtime limits reaches on the same inputs."""

    makespan: Annotated[float, Field(description="of the shortest schedule found, seconds")]
    lower_bound: Annotated[float, Field(description="proven for every plan, seconds")]


class WindowRow(TypedDict):
    """The steady-state pattern: a part of the schedule that can be repeated any number of times."""

    start: Annotated[float, Field(ge=0, description="seconds")]
    length: Annotated[float, Field(gt=0, description="seconds")]
    microbatches: Annotated[int, Field(ge=1, description="that one repetition adds, all copies together")]


class RepeatedRow(TypedDict):
    """A part of the schedule that runs more often than it is listed.

    It lasts from ``start`` to ``start + length``; ``e = microbatches / (copies that run a microbatch)``. A microbatch
    counts by its place among those of its copy, from 0; copy 0 has the lowest numbers, then copy 1, and so on. What
    starts before ``start`` runs as listed. What starts from ``start`` on and before ``start + length`` with microbatch
    j also runs at ``start of it + i x length`` with microbatch ``j + i x e``, for i from 1 to ``times``. What starts at
    ``start + length`` or later runs ``times x length`` later, with microbatch ``j + times x e``. Rows whose microbatch
    is null start from ``start`` on and run once, ``times x length`` later.
    """

    times: Annotated[int, Field(ge=1, description="how often it runs besides the one time that is listed")]
    start: Annotated[float, Field(ge=0, description="seconds")]
    length: Annotated[float, Field(gt=0, description="seconds")]
    microbatches: Annotated[int, Field(ge=1, description="that one repetition adds, all copies together")]


class PlanRow(TypedDict):
    """A schedule of one training or inference step, with its figures and proven bounds."""

    schema: Literal["planner/plan@1"]
    planner_version: str
    origin: Annotated[str, Field(description="solve, or baseline:NAME")]
    graph: GraphRow
    cluster: SourceRow
    options: Annotated[dict[str, Any], Field(description="every flag that shaped the result")]
    microbatches: Index
    objective: str
    status: Literal["optimal", "feasible", "interrupted"]
    makespan: Seconds
    lower_bound: Annotated[float | None, Field(description="proven for the problem, seconds")]
    placement_lower_bound: Annotated[float | None, Field(description="proven for the chosen placement, seconds")]
    gap: Annotated[float | None, Field(description="(makespan - lower_bound) / makespan")]
    bubble_ratio: float
    bubble_ratio_all: float
    throughput: NotRequired[ThroughputRow | None]
    window: NotRequired[Annotated[WindowRow | None, Field(description="null: none is known")]]
    unrestricted: NotRequired[
        Annotated[UnrestrictedRow | None, Field(description="of a plan of a runtime; null: it is none")]
    ]
    repeated: NotRequired[Annotated[RepeatedRow | None, Field(description="null: tasks and transfers are all")]]
    solve_seconds: Seconds
    placement: list[PlacedRow]
    tasks: list[TaskRow] | CompactTasks
    transfers: list[TransferRow] | CompactTransfers
    devices: list[DeviceRow]
    baselines: NotRequired[list[BaselineRow]]
    notes: NotRequired[list[str]]


_FORMS: Mapping[str, tuple[Any, Any]] = {
    "tasks": (list[TaskRow], CompactTasks),
    "transfers": (list[TransferRow], CompactTransfers),
}
"""The two forms of a list: row by row, and compact."""


@cache
def _format(compact: frozenset[str] | None = None) -> TypeAdapter[Any]:
    """``PlanRow`` with the keys of all kinds of figures, which come after ``gap``.

    ``compact``: the keys in the compact form, so that a mistake is one of that form; None: any key may be in either.
    """
    shapes: dict[str, Any] = {}
    for key, shape in get_type_hints(PlanRow, include_extras=True).items():
        shapes[key] = shape if compact is None or key not in _FORMS else _FORMS[key][key in compact]
        if key == "gap":
            shapes |= {name: NotRequired[figure] for name, figure in _figure_shapes()}
    make: Any = TypedDict  # a type checker wants to see its keys
    row = make("PlanRow", shapes)
    row.__doc__ = PlanRow.__doc__
    row.__pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False, title="plan.json")
    return TypeAdapter(row)


def _figure_shapes() -> Iterator[tuple[str, Any]]:
    for kind in FIGURES.values():
        amount: Any = int | None if kind.unit is Unit.DEVICES else float | None
        if kind.value is not None:
            yield kind.value, Annotated[amount, Field(description=kind.value_meaning)]
        yield kind.bound, Annotated[amount, Field(description=kind.bound_meaning)]
        if kind.gap is not None:
            words = f"({kind.value} - {kind.bound}) / {kind.value}"
            yield kind.gap, Annotated[float | None, Field(description=words)]


def plan_schema() -> dict[str, Any]:
    """The JSON Schema of ``plan.json``. Keys that it does not name are allowed: the format grows."""
    schema = _format().json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA, **schema}


MAX_BYTES = 1024**3
"""A plan of a million tasks takes some 150 MB."""


@dataclass(frozen=True)
class PlanFile:
    """A file as read: the plan in it, and its text."""

    plan: Plan
    text: str
    compact: bool  # in whole or in part


def read_plan(path: Path | str) -> Plan:
    """The plan in a file, which gzip may have packed. Raises ``InputError`` where it is missing, no JSON or no plan.

    Keys that the format does not name are ignored. Numbers only have to be finite; ``verify`` checks what they mean.
    Tasks and transfers in the compact form become rows.
    """
    return read_plan_file(path).plan


def read_plan_file(path: Path | str) -> PlanFile:
    """The same with the text of the file."""
    return _read(read_json_source(path, MAX_BYTES, gzip=True))


def plan_of_text(text: str, name: str) -> Plan:
    """The plan in the content of a file, which errors call ``name``. Raises ``InputError`` as ``read_plan`` does."""
    return _read(json_source(text, name)).plan


def _read(source: JsonSource) -> PlanFile:
    rows = _checked(source)
    try:
        plan = _plan(rows)
    except Misfit as error:
        raise source.error(error.steps, str(error)) from None
    if plan.repeated is not None and plan.listed_microbatches < 1:
        too_many = f"adds {plan.repeated.more} microbatches, and the plan has {plan.microbatches}"
        raise source.error(["repeated"], too_many)
    return PlanFile(plan, source.text, bool(_compact(rows)))


def _checked(source: JsonSource) -> dict[str, Any]:
    """The content of a file that has the shape of a plan."""
    raw = source.root
    if not isinstance(raw, dict):
        raise source.error([], "is no plan: the file must hold one JSON object, as planner solve -o writes it")
    if raw.get("schema") != SCHEMA:
        found = "is missing" if "schema" not in raw else f"is {shown(raw['schema'])}"
        raise source.error(["schema"], f"{found}: a plan says {SCHEMA!r}")
    try:
        rows: dict[str, Any] = _format(_compact(raw)).validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        more = error.error_count() - 1
        message = f"{first['msg'][:1].lower()}{first['msg'][1:]}, found {shown(first['input'])}"
        if first["type"] == "missing":
            message = "is missing"
        if more:
            message += f" (and {more} more)"
        raise source.error(first["loc"], message) from error
    for key, once in (("tasks", "RUG"), ("transfers", "R")):
        steps: list[Step] = [key, "once"] if key in _compact(rows) else [key]
        for k, row in enumerate(_listed(rows, key)):
            if (row["microbatch"] is None) != (row["pass"] in once):
                which = "is null, but pass" if row["microbatch"] is None else "must be null where pass"
                raise source.error([*steps, k, "microbatch"], f"{which} is {row['pass']}")
            if row["microbatch"] is not None and key in _compact(rows):
                raise source.error([*steps, k, "microbatch"], "must be null: any other row belongs to a class")
    return rows


def plan_error(path: Path | str, steps: Sequence[Step], message: str) -> InputError:
    """An error about a value of a plan that has been read: the file is read again for its line.

    A row that the compact form stands for has no line of its own; the error is about its class.
    """
    try:
        source = read_json_source(path, MAX_BYTES, gzip=True)
    except InputError:  # it came from stdin, or is gone
        return InputError(path, None, field_path(list(steps)), message)
    if len(steps) > 1 and steps[0] in _compact(source.root):
        key, k = str(steps[0]), int(steps[1])
        class_of = _expanded(_checked(source), key).class_of
        steps = [key, "classes", int(class_of[k])] if k < len(class_of) else [key, "once", k - len(class_of)]
    return source.error(steps, message)


def _compact(raw: Mapping[str, Any]) -> frozenset[str]:
    """The keys in the compact form."""
    return frozenset(key for key in _FORMS if isinstance(raw.get(key), dict) and "classes" in raw[key])


def _listed(rows: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    """The rows of a checked file that stand there one by one; in the compact form those that come once."""
    found: Sequence[Mapping[str, Any]] = rows[key].get("once", ()) if key in _compact(rows) else rows[key]
    return found


def _expanded(rows: Mapping[str, Any], key: str) -> Expanded:
    """The other rows of a compact form. Raises ``Misfit`` where it stands for none."""
    names = Names((r["name"] for r in rows["devices"]), (r["operator"] for r in rows["placement"]))
    try:
        return Expanded(rows[key]["classes"], TASK_KEYS if key == "tasks" else TRANSFER_KEYS, names)
    except Misfit as error:
        raise Misfit((key, *error.steps), str(error)) from None


def _tasks(rows: Mapping[str, Any]) -> tuple[PlannedTask, ...]:
    if "tasks" in _compact(rows):
        return _expanded(rows, "tasks").rows(PlannedTask)
    return tuple(
        PlannedTask(
            r["operator"],
            r["pass"],
            r["microbatch"],
            r["copy"],
            r["device"],
            r["stream"],
            r["start"],
            r["end"],
        )
        for r in rows["tasks"]
        if r["microbatch"] is not None
    )


def _transfers(rows: Mapping[str, Any]) -> tuple[PlannedTransfer, ...]:
    if "transfers" in _compact(rows):
        return _expanded(rows, "transfers").rows(PlannedTransfer)
    return tuple(
        PlannedTransfer(
            r["operator"],
            r["pass"],
            r["microbatch"],
            r["copy"],
            r["from"],
            r["to"],
            r["start"],
            r["end"],
        )
        for r in rows["transfers"]
        if r["microbatch"] is not None
    )


def _plan(rows: Mapping[str, Any]) -> Plan:
    """The plan of a checked file. Raises ``Misfit`` where the compact form stands for no rows."""
    plan = Plan(
        planner_version=rows["planner_version"],
        origin=rows["origin"],
        graph=graph_source(rows["graph"]),
        cluster=Source(**_only(rows["cluster"], "name", "sha256")),
        options=cast("Mapping[str, Any]", rows["options"]),
        microbatches=rows["microbatches"],
        objective=rows["objective"],
        status=rows["status"],
        makespan=rows["makespan"],
        lower_bound=rows["lower_bound"],
        placement_lower_bound=rows["placement_lower_bound"],
        gap=rows["gap"],
        bubble_ratio=rows["bubble_ratio"],
        bubble_ratio_all=rows["bubble_ratio_all"],
        solve_seconds=rows["solve_seconds"],
        placement=tuple(
            PlacedOperator(r["operator"], r["copy"], r["device"], r.get("variant", BASE)) for r in rows["placement"]
        ),
        tasks=_tasks(rows),
        transfers=_transfers(rows),
        step_tasks=tuple(
            PlannedStepTask(r["operator"], r["pass"], r["copy"], r["device"], r["stream"], r["start"], r["end"])
            for r in _listed(rows, "tasks")
            if r["microbatch"] is None
        ),
        exchanges=tuple(
            PlannedExchange(r["operator"], r["copy"], r["from"], r["to"], r["start"], r["end"])
            for r in _listed(rows, "transfers")
            if r["microbatch"] is None
        ),
        devices=tuple(DeviceFigures(**_only(r, *DeviceFigures.__dataclass_fields__)) for r in rows["devices"]),
        baselines=tuple(
            BaselineFigures(**_only(r, *BaselineFigures.__dataclass_fields__)) for r in rows.get("baselines", ())
        ),
        notes=tuple(rows.get("notes", ())),
        window=_window(rows.get("window")),
        repeated=_repeated(rows.get("repeated")),
        unrestricted=None if rows.get("unrestricted") is None else Unrestricted(**rows["unrestricted"]),
        throughput=throughput(rows.get("throughput")),
    )
    return replace(plan, figures=tuple(figure.of(plan) for figure in _figures(rows)))


def _figures(rows: Mapping[str, Any]) -> Iterator[Figure]:
    """The figures of which the file has the value or the bound."""
    for key, kind in FIGURES.items():
        value = None if kind.value is None else rows.get(kind.value)
        bound = rows.get(kind.bound)
        if value is not None or bound is not None:
            yield Figure(key, value, bound)


def _window(row: Mapping[str, Any] | None) -> PlanWindow | None:
    return None if row is None else PlanWindow(**_only(row, *PlanWindow.__dataclass_fields__))


def _repeated(row: Mapping[str, Any] | None) -> PlanRepetition | None:
    return None if row is None else PlanRepetition(**_only(row, *PlanRepetition.__dataclass_fields__))


def _only(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The named entries of a row; unknown keys fall away."""
    return {name: row[name] for name in names if name in row}

"""``graph.yaml``: its format, declared once, and its reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from planner.files.errors import did_you_mean, shown
from planner.files.expansion import BlockEntry, ListEntry, OperatorEntry, by_name, expand
from planner.files.origin import ORIGIN, made_from
from planner.files.shapes import (
    Choice,
    Definitions,
    Entry,
    Field,
    Flag,
    ListOf,
    MapOf,
    Name,
    OrNull,
    Place,
    Quantity,
    Record,
    Schema,
    SchemaName,
    Shape,
    Whole,
    json_schema,
    read_root,
)
from planner.files.yaml_source import Map, Source, read_source
from planner.problem.graph import (
    BASE,
    PASS_KEYS,
    STEP_KEYS,
    ByDevice,
    Collective,
    Graph,
    Mode,
    Origin,
    Pass,
    PassTime,
    Spot,
    Stream,
    TimesAt,
    Variant,
    Work,
)
from planner.problem.quantities import BYTES, FLOP, SECONDS

MAX_MICROBATCHES = 1_000_000
MAX_REPEAT = 1_000_000


class _PassTime(Shape[PassTime]):
    """Seconds everywhere, or seconds by device."""

    everywhere = Quantity(SECONDS)
    by_device = MapOf(everywhere, "device names or device types", least=1)

    def read(self, value: Any, place: Place) -> PassTime:
        if isinstance(value, Map):
            return ByDevice(self.by_device.read(value, place))
        return self.everywhere.read(value, place)

    def schema(self, definitions: Definitions) -> Schema:
        return {"anyOf": [self.everywhere.schema(definitions), self.by_device.schema(definitions)]}


class _WorkShape(Shape[PassTime]):
    """The work of one pass."""

    record = Record(
        "work of a pass",
        "FLOP and bytes of one pass; the device type converts them to a time (roofline).",
        {
            "flops": Field(Quantity(FLOP), "Floating-point operations. Default 0."),
            "bytes": Field(Quantity(BYTES), "Bytes moved to and from device memory. Default 0."),
        },
        rules={"minProperties": 1},
    )

    def read(self, value: Any, place: Place) -> PassTime:
        entry = self.record.read(value, place)
        if not entry.data:
            place.fail("must not be empty: give flops, bytes or both")
        return Work(entry.get("flops", 0.0), entry.get("bytes", 0.0))

    def schema(self, definitions: Definitions) -> Schema:
        return self.record.schema(definitions)


def _stray_pass_key(key: str) -> str | None:
    return "give its two parts, input_grad and weight_grad" if key == "backward" else None


def _passes(name: str, shape: Shape[PassTime], doc: str, required: bool = True) -> Record:
    return Record(
        name,
        doc,
        {
            "forward": Field(shape, "The forward pass.", required=required),
            "input_grad": Field(
                OrNull(shape), "The gradient of the input. Left out or null: as forward; 0: of no length."
            ),
            "weight_grad": Field(
                OrNull(shape),
                "The gradient of the weights. Left out: as forward if there are parameters, else no such "
                "pass; 0 or null: no such pass.",
            ),
        },
        stray=_stray_pass_key,
    )


class _StepTime(Shape[PassTime]):
    """Seconds, seconds by device, or work: a mapping with ``flops`` or ``bytes``."""

    time, work = _PassTime(), _WorkShape()

    def read(self, value: Any, place: Place) -> PassTime:
        is_work = isinstance(value, Map) and not {"flops", "bytes"}.isdisjoint(value)
        return (self.work if is_work else self.time).read(value, place)

    def schema(self, definitions: Definitions) -> Schema:
        is_work: Schema = {"anyOf": [{"required": ["flops"]}, {"required": ["bytes"]}], "type": "object"}
        work, time = self.work.schema(definitions), self.time.schema(definitions)
        return {"if": is_work, "then": work, "else": time}


_SIZE = Quantity(BYTES)
_NAMES = ListOf(Name(), "names")
_INPUTS_DOC = "Names of what it reads. [] is a source; left out: the block's input (a source outside blocks)."


def _stray_operator_key(key: str) -> str | None:
    if key in ("repeat", "operators"):
        return "a block has it; name the entry with 'block:' instead of 'name:'"
    return None


def _stray_variant_key(key: str) -> str | None:
    return "a variant has only times and sizes" if key in OPERATOR.fields else None


def _stray_block_key(key: str) -> str | None:
    if key == "name":
        return "'block:' is already its name"
    if key in OPERATOR.fields:
        return "operators have it; set it on the operators of the block"
    return None


_TIME_DOC = "Pass times: seconds, or seconds by device name, group or type."
_WORK_DOC = "Work of the passes, for the roofline of the device type."

VARIANT = Record(
    "variant",
    "An alternative of the operator. What it leaves out is the operator's own, pass by pass.",
    {
        "name": Field(Name(), "Unique among the operator's variants; not base, which is the operator.", required=True),
        "time": Field(_passes("times of a variant", _PassTime(), _TIME_DOC, required=False), "Its pass times."),
        "work": Field(_passes("work of a variant", _WorkShape(), _WORK_DOC, required=False), "Its work."),
        "activation": Field(_SIZE, "As the operator's."),
        "held_for_weight_grad": Field(_SIZE, "As the operator's, at most the variant's activation."),
        "parameters": Field(_SIZE, "As the operator's."),
    },
    rules={
        "not": {
            "anyOf": [
                {"required": ["time", "work"]},
                {"required": ["name"], "properties": {"name": {"const": BASE}}},
            ]
        }
    },
    stray=_stray_variant_key,
)

STEP = Record(
    "step",
    "What comes once a step, after the last microbatch, for each copy. Training only.",
    {
        "reduce": Field(
            OrNull(_StepTime()), "Reduction of the gradients over data-parallel ranks, on the comm stream."
        ),
        "update": Field(OrNull(_StepTime()), "The optimizer, on the compute stream."),
        "gather": Field(OrNull(_StepTime()), "Gathering the updated parameters, on the comm stream."),
        "gradient": Field(_SIZE, "Bytes that copies on different devices exchange before. Default 0."),
    },
)

OPERATOR = Record(
    "operator",
    "One operator of the graph.",
    {
        "name": Field(Name(), "Unique in its list.", required=True),
        "time": Field(
            _passes("time", _PassTime(), _TIME_DOC),
            "Pass times. Either this or work.",
        ),
        "work": Field(
            _passes("work", _WorkShape(), _WORK_DOC),
            "Work of the passes. Either this or time.",
        ),
        "inputs": Field(_NAMES, _INPUTS_DOC),
        "stream": Field(Choice(tuple(s.value for s in Stream)), "The stream of its device. Default compute."),
        "collective": Field(
            Choice(tuple(c.value for c in Collective)),
            "The ranks among which it communicates, on the comm stream: some runtimes hide some of these.",
        ),
        "parameters": Field(_SIZE, "Bytes that a copy holds all step long. Default 0."),
        "activation": Field(
            _SIZE, "Bytes a microbatch holds from the start of forward to the end of backward. Default 0."
        ),
        "held_for_weight_grad": Field(
            _SIZE, "The part of activation still held between input_grad and weight_grad. Default: all of it."
        ),
        "output": Field(_SIZE, "Bytes sent to a consumer on another device. Default 0."),
        "colocate": Field(OrNull(Name()), "Operators with one label share a device."),
        "devices": Field(
            OrNull(ListOf(Name(), "device names or types", least=1)),
            "Device names, groups or types it may run on. Default: any.",
        ),
        "variants": Field(ListOf(VARIANT, "variants"), "Alternatives; the plan picks one for each copy."),
        "step": Field(STEP, "What comes once a step: reduction, optimizer, gathering."),
    },
    rules={
        "oneOf": [{"required": ["time"]}, {"required": ["work"]}],
        "if": {"required": ["collective"]},
        "then": {"required": ["stream"], "properties": {"stream": {"const": Stream.COMM.value}}},
    },
    stray=_stray_operator_key,
)


class _Entry(Shape[ListEntry]):
    """An operator, or a block if it has the key ``block``."""

    def read(self, value: Any, place: Place) -> ListEntry:
        if isinstance(value, Map) and "block" in value:
            return _block(BLOCK.read(value, place))
        return _operator(OPERATOR.read(value, place))

    def schema(self, definitions: Definitions) -> Schema:
        return {
            "if": {"type": "object", "required": ["block"]},
            "then": BLOCK.schema(definitions),
            "else": OPERATOR.schema(definitions),
        }


_ENTRIES = ListOf(_Entry(), "operators", least=1)

BLOCK = Record(
    "block",
    "A sub-graph that is repeated: its operators are named layer.0.attn, layer.1.attn, ...",
    {
        "block": Field(Name(), "The block's name, unique in its list.", required=True),
        "repeat": Field(Whole(1, MAX_REPEAT), "Number of repetitions. Default 1."),
        "inputs": Field(_NAMES, "Names of what the first repetition reads; each further one reads the one before."),
        "output": Field(Name(), "The entry of the block that others read. Default: the last in the list."),
        "operators": Field(_ENTRIES, "Operators and blocks of one repetition.", required=True),
    },
    stray=_stray_block_key,
)

GRAPH = Record(
    "graph",
    "The operators of one microbatch and how they read each other.",
    {
        "schema": Field(SchemaName("graph"), "The format of this file.", required=True),
        "name": Field(Name(), "Default: the file's name without its ending."),
        "mode": Field(Choice(tuple(m.value for m in Mode)), "training (default), or inference: forward passes only."),
        "microbatches": Field(
            Whole(1, MAX_MICROBATCHES), "Identical microbatches in one step. Default 1; a flag overrides it."
        ),
        "clip_gradients": Field(
            Flag(), "Whether no update comes before every reduction (the global norm). Default false."
        ),
        "origin": Field(ORIGIN, "What the graph was made from."),
        "operators": Field(_ENTRIES, "Operators and blocks.", required=True),
    },
)


def read_graph(path: Path) -> Graph:
    """Read a ``planner/graph@1`` file: validated, its blocks unrolled, every name resolved.

    Raises ``InputError`` with file, line and field for whatever is wrong.
    """
    return graph_of(read_source(path))


def graph_of(source: Source) -> Graph:
    """The graph that a file's document states; raises as ``read_graph`` does."""
    entry = read_root(GRAPH, source.root, source.path)
    mode = Mode(entry.get("mode", Mode.TRAINING.value))
    operators = expand(by_name(entry.values["operators"]), mode)
    return Graph(
        name=entry.get("name", source.default_name),
        mode=mode,
        microbatches=entry.get("microbatches", 1),
        operators=operators,
        sha256=source.sha256,
        path=str(source.path),
        clip_gradients=entry.get("clip_gradients", False),
        made_from=made_from(entry.get("origin")),
    )


def graph_schema() -> Schema:
    """The JSON Schema of ``graph.yaml``."""
    return json_schema(GRAPH, "planner graph", "planner/graph@1")


def _operator(entry: Entry) -> OperatorEntry:
    """Check the keys of an operator against each other, and fill in the defaults."""
    given = _time_or_work(entry)
    if given is None:
        entry.at("time").fail("is missing: give 'time' (seconds) or 'work' (FLOP and bytes)")
    parameters = entry.get("parameters", 0.0)
    activation = entry.get("activation", 0.0)
    held = entry.get("held_for_weight_grad", activation)
    if held > activation:
        _fail_held(entry, shown(entry.data.get("activation", 0)))
    inputs = entry.get("inputs")
    devices = entry.get("devices")
    times = training_passes(given.values, has_parameters=parameters > 0)
    step = entry.get("step")
    return OperatorEntry(
        name=entry.values["name"],
        record=entry,
        inputs=None if inputs is None else tuple(inputs),
        times=times,
        stream=Stream(entry.get("stream", Stream.COMPUTE.value)),
        parameters=parameters,
        activation=activation,
        held_for_weight_grad=held,
        output=entry.get("output", 0.0),
        colocate=entry.get("colocate"),
        devices=None if devices is None else tuple(dict.fromkeys(devices)),
        origin=_origin(entry),
        variants=_variants(entry, times, parameters, activation),
        step={which: cost for which, key in STEP_KEYS.items() if step and (cost := step.get(key)) is not None},
        gradient=0.0 if step is None else step.get("gradient", 0.0),
        collective=_collective(entry),
    )


def _collective(entry: Entry) -> Collective | None:
    """What an operator of the comm stream is."""
    name = entry.get("collective")
    if name is not None and entry.get("stream", Stream.COMPUTE.value) != Stream.COMM.value:
        entry.at("collective").fail("only operators of the comm stream have it: give stream: comm, or leave it out")
    return None if name is None else Collective(name)


def _time_or_work(entry: Entry) -> Entry | None:
    """The passes that an operator or a variant gives."""
    given = [key for key in entry.data if key in ("time", "work")]
    if len(given) > 1:
        entry.at(given[1]).fail("time and work exclude each other: remove one")
    return entry.values[given[0]] if given else None


def _fail_held(entry: Entry, activation: str) -> NoReturn:
    entry.at("held_for_weight_grad").fail(
        "is the part of activation that weight_grad needs, and cannot be larger than activation "
        f"({shown(entry.data['held_for_weight_grad'])} of {activation})"
    )


def _variants(
    entry: Entry, times: Mapping[Pass, PassTime], parameters: float, activation: float
) -> tuple[Variant, ...]:
    """The variants of an operator, what they leave out filled in."""
    variants: list[Variant] = []
    for own in entry.get("variants", ()):
        name = own.values["name"]
        if name == BASE:
            own.at("name").fail(f"{shown(BASE)} is the operator as it stands: give the variant another name")
        if any(name == other.name for other in variants):
            own.at("name").fail(f"the name {shown(name)} is used twice among the variants of one operator: rename one")
        given = _time_or_work(own)
        passes = dict(times) if given is None else variant_passes(times, given.values)
        size = own.get("activation", activation)
        held = own.get("held_for_weight_grad")
        if held is not None and held > size:
            _fail_held(own, shown(own.data.get("activation", entry.data.get("activation", 0))))
        if held is None:
            held = entry.get("held_for_weight_grad", size)
            if held > size and Pass.W in passes:
                own.at("activation").fail(
                    f"is less than held_for_weight_grad of the operator ({shown(own.data['activation'])} of "
                    f"{shown(entry.data['held_for_weight_grad'])}): give the variant a held_for_weight_grad of its own"
                )
            held = min(held, size)
        variants.append(Variant(name, passes, own.get("parameters", parameters), size, held))
    return tuple(variants)


def variant_passes(own: Mapping[Pass, PassTime], given: Mapping[str, PassTime | None]) -> dict[Pass, PassTime]:
    """The passes of a variant: those that it gives, and the operator's ``own`` for the others.

    weight_grad given as 0 or null: no such pass. input_grad given as null counts as left out.
    """
    passes = dict(own)
    for which, key in PASS_KEYS.items():
        cost = given.get(key)
        if which is Pass.W and key in given and (cost is None or _is_nothing(cost)):
            passes.pop(which, None)
        elif cost is not None:
            passes[which] = cost
    return {which: passes[which] for which in PASS_KEYS if which in passes}


def _origin(entry: Entry) -> Origin:
    """Where the operator stands, and every name of a device in it: the cluster that they name is read later."""
    devices = entry.get("devices")
    places = []
    if devices is not None:
        items, at = entry.data["devices"], entry.at("devices")
        places = [(name, at.item(items, i)) for i, name in enumerate(devices)]
    by_device = [*_times_at(entry.get("time"), PASS_KEYS), *_times_at(entry.get("step"), STEP_KEYS)]
    for variant in entry.get("variants", ()):
        by_device += _times_at(variant.get("time"), PASS_KEYS)
    # The first of two equal names counts.
    return Origin(entry.place.line, {name: _spot(place) for name, place in reversed(places)}, tuple(by_device))


def _times_at(times: Entry | None, keys: Mapping[Pass, str]) -> Iterator[TimesAt]:
    """The times by device among some passes, with the places of all names."""
    for which, key in keys.items():
        cost = None if times is None else times.get(key)
        if times is not None and isinstance(cost, ByDevice):
            at, names = times.at(key), times.data[key]
            yield TimesAt(which, cost, _spot(at), {name: _spot(at.key(names, name)) for name in cost.seconds})


def _spot(place: Place) -> Spot:
    return Spot(place.line, place.field or "")


def training_passes(given: Mapping[str, PassTime | None], has_parameters: bool) -> dict[Pass, PassTime]:
    """The passes of an operator in training, from those that the file gives (``None`` for null).

    input_grad left out or null is as forward. weight_grad left out is as forward where the operator has
    parameters; given as 0 or null there is no such pass.
    """
    forward = given["forward"]
    assert forward is not None
    input_grad = given.get("input_grad")
    passes: dict[Pass, PassTime] = {
        Pass.F: forward,
        Pass.I: forward if input_grad is None else input_grad,
    }
    if "weight_grad" not in given:
        if has_parameters:
            passes[Pass.W] = forward
    elif (weight_grad := given["weight_grad"]) is not None and not _is_nothing(weight_grad):
        passes[Pass.W] = weight_grad
    return passes


def _is_nothing(cost: PassTime) -> bool:
    """An explicit 0. A map by device is a pass, even if it takes no time on some of them."""
    if isinstance(cost, Work):
        return cost.flops == 0 and cost.bytes == 0
    return not isinstance(cost, ByDevice) and cost == 0


def _block(entry: Entry) -> BlockEntry:
    entries = by_name(entry.values["operators"])
    output = entry.get("output", next(reversed(entries)))
    if output not in entries:
        entry.at("output").fail(
            f"no operator or block of this list is called {shown(output)}: {did_you_mean(output, entries)}"
        )
    inputs = entry.get("inputs")
    return BlockEntry(
        name=entry.values["block"],
        record=entry,
        inputs=None if inputs is None else tuple(inputs),
        repeat=entry.get("repeat", 1),
        output=entries[output],
        entries=entries,
    )

"""A plan's placement as Megatron-Core's ``--pipeline-model-parallel-layout``, with the sizes that go with it.

The string (``PipelineParallelLayerLayout.parse_str_to_list`` of Megatron-Core): layers as letters (E embedding, t
decoder layer, m multi-token prediction, L loss), stages apart by ``|``, ``t*8`` for eight of a letter, ``(tt|)*6`` for
six of what the parentheses hold. Stage k runs on rank k mod P as virtual stage k div P. Megatron runs an order of its
own on it, 1F1B or interleaved 1F1B: the layout does not carry the plan's schedule.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Annotated, Any

import typer

from planner.common.messages import shown
from planner.exporters import CannotExport, Exported, Repair
from planner.exporters.layers import Chunk, Layer, Rule, layers_of, parse_rules
from planner.exporters.megatron_nearest import Chosen, Placed, chosen_for, modules_asked, on_comm, selective_notes
from planner.exporters.megatron_order import order_name, own_order, shortage
from planner.exporters.megatron_recompute import modules_of, parse_names
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.report.words import apart, percent, seconds

LAYOUT = "planner/megatron-layout@1"


@dataclass(frozen=True)
class MegatronOptions:
    """The options of the format."""

    layers: Annotated[
        str | None,
        typer.Option(metavar="RULES", help="For megatron, such as 'E=embed,t=layer.*,L=head'.  [default: by names]"),
    ] = None
    recompute: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="For megatron, which variants recompute, such as 'full=ckpt,selective=norms'.  [default: by names]",
        ),
    ] = None
    recompute_modules: Annotated[
        str | None,
        typer.Option(
            metavar="MODULES",
            help="For megatron, of selective recomputation, such as layernorm,mla_up_proj.  [default: by names]",
        ),
    ] = None
    repair: Repair = False


class Megatron:
    """The exporter."""

    name = "megatron"
    help = "Megatron-Core's --pipeline-model-parallel-layout."
    options = MegatronOptions

    def export(self, plan: Plan, problem: Problem | None, options: MegatronOptions) -> Exported:
        """The flags and the layers beside them."""
        return megatron(plan, problem, options.layers, options)


def megatron(
    plan: Plan, problem: Problem | None, layers: str | None, options: MegatronOptions | None = None
) -> Exported:
    """The flags, one a line, and ``.json`` beside them with the layers of every stage by name.

    ``problem``: that of the plan's files, where they are given; then the notes give the time of Megatron's own order.
    ``layers``: the rules of ``--layers``. Raises ``CannotExport`` where a layout cannot express the placement, nor the
    flags what is recomputed.
    """
    options = options or MegatronOptions()
    device_of = _devices(plan)
    found = _layers(plan, parse_rules(layers))
    chunks = _chunks(found, device_of)
    ranks = list(dict.fromkeys(chunk.device for chunk in chunks))
    _check_placement(chunks, ranks)
    _check_layers(chunks, len(ranks))
    _check_microbatches(plan, len(chunks) // len(ranks), len(ranks))
    flags = {
        "--pipeline-model-parallel-size": str(len(ranks)),
        "--pipeline-model-parallel-layout": layout_of([chunk.letters for chunk in _complete(chunks)]),
        "--num-layers": str(sum(layer.kind == "t" for layer in found)),
    }
    predictions = sum(layer.kind == "m" for layer in found)
    if predictions:
        flags["--mtp-num-layers"] = str(predictions)
    flow = Placed(plan, problem, chunks, ranks)
    chosen = chosen_for(flow, parse_names(options.recompute), options.repair)
    recompute = chosen.choice.flags(modules_asked(options.recompute_modules) or modules_of(chunks))
    text = "".join(f"{flag} {shlex.quote(value)}\n" for flag, value in flags.items())
    text += "".join(f"{' '.join((flag, *map(shlex.quote, values)))}\n" for flag, values in recompute.items())
    document = _document(plan, flags, chunks, ranks) | _in_json(recompute)
    notes = (*_notes(flow, chosen), *selective_notes(chosen.choice, chunks, options.recompute_modules))
    return Exported(text, {".json": json.dumps(document, indent=1) + "\n"}, notes)


def _devices(plan: Plan) -> dict[str, str]:
    """The device of every operator."""
    found: dict[str, str] = {}
    for task in plan.tasks:
        if found.setdefault(task.operator, task.device) != task.device:
            raise CannotExport(
                f"operator {shown(task.operator)} has copies on {found[task.operator]} and {task.device}, and Megatron "
                "places every layer once; solve with --copies 1"
            )
    missing = next((p.operator for p in plan.placement if p.operator not in found), None)
    if missing is not None or not found:
        raise CannotExport(f"it holds no task of operator {shown(missing)}" if missing else "it holds no tasks")
    return found


def _layers(plan: Plan, rules: Sequence[Rule]) -> list[Layer]:
    """The layers, in the order of what they compute: their communication may run ahead of that."""
    names = _in_order(plan)
    comm = on_comm(plan)
    place = {name: k for k, name in enumerate(names)}
    found = layers_of(sorted(names, key=lambda name: (name in comm, place[name])), rules)
    return [replace(layer, operators=tuple(sorted(layer.operators, key=place.__getitem__))) for layer in found]


def _in_order(plan: Plan) -> list[str]:
    """The operators as the forward pass of the first microbatch goes through them."""
    number = {p.operator: k for k, p in enumerate(plan.placement)}
    forwards = [t for t in plan.tasks if t.pass_ == "F" and t.microbatch == 0 and t.operator in number]
    names = [t.operator for t in sorted(forwards, key=lambda t: (t.start, t.end, number[t.operator]))]
    if set(names) != set(number):
        raise CannotExport("forward passes of its first microbatch are missing; planner verify says which")
    return list(dict.fromkeys(names))


def _chunks(layers: Sequence[Layer], device_of: dict[str, str]) -> list[Chunk]:
    """Virtual stages: consecutive layers on one device."""
    for layer in layers:
        devices = {device_of[name]: name for name in layer.operators}
        if len(devices) > 1:
            (a, first), (b, second) = list(devices.items())[:2]
            raise CannotExport(
                f"{layer} is split over {a} ({shown(first)}) and {b} ({shown(second)}), and Megatron places whole "
                "layers; colocate its operators in the graph, or name other layers with --layers"
            )
    grouped = groupby(layers, key=lambda layer: device_of[layer.operators[0]])
    return [Chunk(device, tuple(members)) for device, members in grouped]


def _check_placement(chunks: Sequence[Chunk], ranks: Sequence[str]) -> None:
    """Megatron's placement: stage k on rank k mod P."""
    for k, chunk in enumerate(chunks):
        wanted = ranks[k % len(ranks)]
        if chunk.device != wanted:
            raise CannotExport(
                f"its stages go {', '.join(c.device for c in chunks[: k + 1])}, and Megatron's go round: after "
                f"{chunks[k - 1].device} comes {wanted}; solve with --layout linear or interleaved"
            )
    if len(chunks) % len(ranks):
        last = chunks[-1].device
        raise CannotExport(
            f"its last stage is on {last}, and Megatron's is on the last rank, {ranks[-1]}: every rank has as many "
            "virtual stages as the others; solve with --layout linear or interleaved"
        )


def _check_layers(chunks: Sequence[Chunk], ranks: int) -> None:
    """Megatron's checks of a layout (``validate_layer_layout``) that the order of the kinds does not imply."""
    if not any(layer.kind == "t" for chunk in chunks for layer in chunk.layers):
        raise CannotExport("it has no decoder layer; --layers names them, such as --layers 't=layer.*'")
    with_prediction = [k for k, chunk in enumerate(chunks) if "m" in chunk.letters]
    if len(with_prediction) > 1 or any(k < len(chunks) - ranks for k in with_prediction):
        raise CannotExport(
            "Megatron wants all layers of multi-token prediction in one stage, in the last round over the ranks; "
            "colocate them in the graph"
        )


def _check_microbatches(plan: Plan, virtual: int, ranks: int) -> None:
    if virtual > 1 and plan.microbatches % ranks:
        raise CannotExport(
            f"Megatron's interleaved order wants a number of microbatches that its {ranks} ranks divide, and the plan "
            f"has {plan.microbatches}"
        )


def _complete(chunks: Sequence[Chunk]) -> list[Chunk]:
    """The stages with an embedding first and a loss last: Megatron asks for both, also where the graph has neither."""
    made = list(chunks)
    if "E" not in made[0].letters:
        made[0] = Chunk(made[0].device, (Layer("E", "embedding", ()), *made[0].layers))
    if "L" not in made[-1].letters:
        made[-1] = Chunk(made[-1].device, (*made[-1].layers, Layer("L", "loss", ())))
    return made


def layout_of(stages: Sequence[str]) -> str:
    """The string for stages of letters, in short where letters or whole stages repeat.

    The last stage has no ``|`` behind it, so it stands by itself. Parentheses do not nest, and ``*`` binds to what is
    right before it, as Megatron reads them.
    """
    short = []
    for letters, same in groupby(_shortened(stage) for stage in stages[:-1]):
        count = len(list(same))
        short.append(f"{letters}|" if count == 1 else f"({letters}|)*{count}")
    return "".join(short) + _shortened(stages[-1])


def _shortened(letters: str) -> str:
    runs = ((letter, len(list(same))) for letter, same in groupby(letters))
    return "".join(f"{letter}*{count}" if count > 3 else letter * count for letter, count in runs)


def _document(plan: Plan, flags: dict[str, str], chunks: Sequence[Chunk], ranks: Sequence[str]) -> dict[str, Any]:
    return {
        "schema": LAYOUT,
        "graph": plan.graph.name,
        "pipeline_model_parallel_size": len(ranks),
        "virtual_pipeline_model_parallel_size": len(chunks) // len(ranks),
        "pipeline_model_parallel_layout": flags["--pipeline-model-parallel-layout"],
        "num_layers": int(flags["--num-layers"]),
        "mtp_num_layers": int(flags.get("--mtp-num-layers", "0")),
        "num_microbatches": plan.microbatches,
        "ranks": [{"rank": r, "device": device} for r, device in enumerate(ranks)],
        "stages": [
            {
                "rank": k % len(ranks),
                "virtual_stage": k // len(ranks),
                "layers": [
                    {"kind": layer.kind, "name": layer.name, "operators": list(layer.operators)}
                    for layer in chunk.layers
                ],
            }
            for k, chunk in enumerate(_complete(chunks))
        ],
    }


def _in_json(flags: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What is recomputed, where something is: keys as in Megatron's configuration."""
    found: dict[str, Any] = {flag.removeprefix("--").replace("-", "_"): values[0] for flag, values in flags.items()}
    if "recompute_num_layers" in found:
        found["recompute_num_layers"] = int(found["recompute_num_layers"])
    if "recompute_modules" in found:
        found["recompute_modules"] = list(flags["--recompute-modules"])
    return found


def _notes(flow: Placed, chosen: Chosen) -> Iterator[str]:
    plan, problem, chunks, ranks = flow.plan, flow.problem, flow.chunks, flow.ranks
    virtual = len(chunks) // len(ranks)
    each = "one stage each" if virtual == 1 else f"{virtual} virtual stages each"
    yield f"{len(ranks)} ranks, {each}; rank by rank: {', '.join(ranks)}"
    yield (
        f"{plan.microbatches} microbatches: --global-batch-size is {plan.microbatches} x --micro-batch-size x the "
        "data-parallel size"
    )
    given = {layer.kind for chunk in chunks for layer in chunk.layers}
    for kind, where in (("E", "first"), ("L", "last")):
        if kind not in given:
            what = {"E": "embedding", "L": "loss"}[kind]
            yield f"the graph has no {what}: Megatron wants one and has it in the {where} stage"
    yield from chosen.notes
    if plan.step_tasks or plan.exchanges:
        yield "step tasks (R, U, G) are not in the layout: Megatron reduces gradients and updates weights itself"
    own = f"Megatron runs its own order ({order_name(chunks, ranks)}) on this placement"
    if problem is None or not problem.training:
        yield f"{own}, not the plan's" + ("" if problem else "; --graph and --cluster tell what that takes")
        return
    as_run = flow.as_run(chosen)
    timetable = own_order(as_run, chunks, ranks)
    makespan = timetable.makespan(as_run)
    rise = makespan / plan.makespan - 1.0 if plan.makespan > 0 else 0.0
    change = f" ({percent(rise)} more)" if rise > 1e-9 else ""
    takes, planned = apart(seconds, makespan, plan.makespan)
    beside = "as long as the plan's order" if takes == planned else f"the plan's order takes {planned}"
    yield f"{own}: {takes}{change}; {beside}"
    over = shortage(as_run, timetable)
    if over is not None:
        yield f"in that order it does not fit in memory: {over}"
    types = {device.name: device.type.name for device in problem.cluster.devices}
    if len({types[device] for device in ranks}) > 1:
        yield "devices of several types: start the ranks in this order, Megatron does not tell them apart"

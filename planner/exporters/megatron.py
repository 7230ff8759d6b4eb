"""A plan as the parallel part of Megatron-LM's arguments: degrees, layout, batch, recomputation, optimizer.

Megatron runs an order of its own on the placement, 1F1B or interleaved 1F1B: the arguments do not carry the plan's
schedule. So time and memory are checked in that order, and a plan that cannot be said is answered with the nearest one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from planner.common.tolerance import SAME
from planner.exporters import CannotExport, Exported, Repair
from planner.exporters.layers import Chunk, Layer
from planner.exporters.megatron_layout import check_stages, letters_of
from planner.exporters.megatron_nearest import (
    Asked,
    DoesNotFit,
    Placed,
    Replayed,
    as_planned,
    modules_asked,
    offered,
    selective_notes,
)
from planner.exporters.megatron_recompute import modules_of, parse_names
from planner.exporters.megatron_settings import (
    MISSING,
    Setting,
    Step,
    arguments,
    batch,
    degrees,
    experts,
    flags,
    heads,
    model,
    precision,
    remarks,
    replicas,
)
from planner.exporters.source import GIVE_FILES
from planner.exporters.staged import Unsayable, chunks_of, complete, devices_of, layers_in, ranks_of
from planner.exporters.zero import with_zero_1
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.problem.made_from import MadeFrom
from planner.report.words import apart, percent, seconds, size

LAYOUT = "planner/megatron-layout@1"

Layers = Annotated[
    str | None,
    typer.Option(
        metavar="RULES",
        help="Which operators are which layer, as 'E=embed,t=layer.*,L=head'.  [default: the graph's origin, or names]",
    ),
]
Recompute = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Which variants recompute, such as 'full=ckpt,selective=norms'.  [default: by names]",
    ),
]
Modules = Annotated[
    str | None,
    typer.Option(
        metavar="MODULES",
        help="For megatron, of selective recomputation, such as layernorm,mla_up_proj.  [default: by names]",
    ),
]
OverMemory = Annotated[
    bool, typer.Option("--over-memory", help="Export what does not fit in memory in the framework's own order, too.")
]


@dataclass(frozen=True)
class MegatronOptions:
    """The options of the format."""

    layers: Layers = None
    recompute: Recompute = None
    recompute_modules: Modules = None
    repair: Repair = False
    over_memory: OverMemory = False


@dataclass(frozen=True)
class Launch:
    """What Megatron is told: the placement that it runs, its settings in order, and remarks."""

    plan: Plan
    placed: Placed
    settings: tuple[Setting, ...]
    notes: tuple[str, ...]


class Megatron:
    """The exporter."""

    name = "megatron"
    help = "The parallel part of Megatron-LM's arguments."
    options = MegatronOptions

    def export(self, plan: Plan, problem: Problem | None, options: MegatronOptions) -> Exported:
        """The flags and the layers beside them."""
        return megatron(plan, problem, options.layers, options)


def megatron(
    plan: Plan, problem: Problem | None, layers: str | None, options: MegatronOptions | None = None
) -> Exported:
    """The flags, one a line, and ``.json`` beside them with the layers of every stage by name.

    See ``launch_of`` for the arguments and for what raises ``CannotExport``.
    """
    launch = launch_of(plan, problem, layers, options or MegatronOptions())
    beside = json.dumps(document_of(launch), indent=1) + "\n"
    return Exported(flags(launch.settings), {".json": beside}, launch.notes)


def launch_of(plan: Plan, problem: Problem | None, layers: str | None, options: MegatronOptions) -> Launch:
    """The placement that Megatron runs and its settings.

    ``problem``: that of the plan's files, where they are given; then time and memory of Megatron's own order are known,
    and the settings that its ``origin`` tells. ``layers``: the rules of ``--layers``. Raises ``CannotExport`` where
    Megatron cannot run the plan, or not in memory, with the nearest plan that it can run.
    """
    origin = None if problem is None else problem.graph.made_from
    found = layers_in(plan, layers, origin)
    asked = Asked(plan, problem, found, parse_names(options.recompute))
    asked, zero = _sharded(asked, options.repair)
    replayed: Replayed | None = None
    repaired: tuple[str, ...] = ()
    try:
        chunks = chunks_of(found, devices_of(plan))
        check_stages(chunks, ranks_of(plan), plan.microbatches)
        placed = as_planned(asked, chunks, ranks_of(plan))
        if asked.problem is not None and asked.problem.training:
            replayed = _checked(Replayed.of(placed), options.over_memory)
    except Unsayable as reason:
        replayed = offered(asked, reason, repair=options.repair, over_memory=options.over_memory)
        placed = replayed.placed
        repaired = (f"repaired: {letters_of(placed.chunks)}, {placed.chosen.choice}, since {reason}",)
    clips = problem is not None and problem.graph.clip_gradients
    own = None if asked.problem is None else asked.problem.graph.made_from
    settings = tuple(_settings(placed, own, Step(len(placed.ranks), plan.microbatches, clips), options))
    notes = (*repaired, *zero, *_notes(plan, placed, replayed, own))
    return Launch(plan, placed, settings, (*notes, *_on_recomputation(placed, options)))


def _sharded(asked: Asked, repair: bool) -> tuple[Asked, tuple[str, ...]]:
    """The plan under ZeRO 1, where the graph is of stage 2 or 3: the distributed optimizer shards no more.

    Megatron-FSDP does, but its documentation and examples have one pipeline rank. Raises ``CannotExport`` with what
    ZeRO 1 takes in memory, unless ``repair`` is set.
    """
    problem = asked.problem
    origin = None if problem is None else problem.graph.made_from
    if problem is None or origin is None or origin.zero < 2 or len(ranks_of(asked.plan)) == 1:
        return asked, ()
    other = with_zero_1(problem, origin)
    index, device = problem.graph.index, {p.operator: p.device for p in asked.plan.placement}
    added: dict[str, float] = {}
    for name, at in device.items():
        more = float(other.parameters[index[name]] - problem.parameters[index[name]])
        added[at] = added.get(at, 0.0) + more
    peaks = {d.name: d.peak_memory + added.get(d.name, 0.0) for d in asked.plan.devices}
    fullest = max(peaks, key=peaks.__getitem__)
    before = next(d.peak_memory for d in asked.plan.devices if d.name == fullest)
    told = (
        f"the graph is of ZeRO {origin.zero}, and Megatron's distributed optimizer shards the optimizer's state alone "
        f"(ZeRO 1): {fullest} then needs about {size(peaks[fullest])} instead of {size(before)}"
    )
    if not repair:
        raise CannotExport(f"{told}; import with --zero 1, or --repair exports it with ZeRO 1")
    return replace(asked, problem=other), (f"repaired: {told}",)


def _checked(replayed: Replayed, over_memory: bool) -> Replayed:
    """The placement in Megatron's order; raises ``DoesNotFit`` where it does not fit in memory."""
    if replayed.over is not None and not over_memory:
        raise DoesNotFit(
            f"in Megatron's order ({replayed.placed.order}) it does not fit in memory: {replayed.over} "
            "(--over-memory exports it all the same)"
        )
    return replayed


def _settings(placed: Placed, origin: MadeFrom | None, step: Step, options: MegatronOptions) -> Iterator[Setting]:
    """All settings, in the order in which people write them."""
    if origin is not None:
        yield from degrees(origin)
    stages, ranks = len(placed.chunks), len(placed.ranks)
    every = [layer.kind for chunk in placed.chunks for layer in chunk.layers]
    yield model("pipeline_model_parallel_size", ranks)
    yield Setting("", None, {"model.virtual_pipeline_model_parallel_size": stages // ranks if stages > ranks else None})
    yield model("pipeline_model_parallel_layout", letters_of(placed.chunks))
    yield model("num_layers", every.count("t"))
    if "m" in every:
        yield model("mtp_num_layers", every.count("m"))
    if origin is not None:
        yield from experts(origin)
        yield from batch(origin, step)
        yield from precision(origin)
        yield from replicas(origin, step)
        yield from heads(origin)
    modules = modules_asked(options.recompute_modules) or modules_of(placed.chunks)
    for flag, values in placed.chosen.choice.flags(modules).items():
        name = f"model.{flag.removeprefix('--').replace('-', '_')}"
        value = values if flag == "--recompute-modules" else int(values[0]) if values[0].isdigit() else values[0]
        yield Setting(flag, value, {name: value})


def document_of(launch: Launch) -> dict[str, Any]:
    """What is exported, stage by stage: the content of the file beside it."""
    placed, told = launch.placed, arguments(launch.settings)
    chunks, ranks = placed.chunks, placed.ranks
    recompute = {name: value for name, value in told.items() if name.startswith("recompute_")}
    return {
        "schema": LAYOUT,
        "graph": launch.plan.graph.name,
        "pipeline_model_parallel_size": len(ranks),
        "virtual_pipeline_model_parallel_size": len(chunks) // len(ranks),
        "pipeline_model_parallel_layout": told["pipeline_model_parallel_layout"],
        "num_layers": told["num_layers"],
        "mtp_num_layers": told.get("mtp_num_layers", 0),
        "num_microbatches": launch.plan.microbatches,
        "ranks": [{"rank": r, "device": device} for r, device in enumerate(ranks)],
        "stages": [
            {"rank": k % len(ranks), "virtual_stage": k // len(ranks), "layers": [_named(x) for x in chunk.layers]}
            for k, chunk in enumerate(complete(chunks))
        ],
        **recompute,
        "arguments": told,
    }


def _named(layer: Layer) -> Mapping[str, Any]:
    return {"kind": layer.kind, "name": layer.name, "operators": list(layer.operators)}


def _notes(plan: Plan, placed: Placed, replayed: Replayed | None, origin: MadeFrom | None) -> Iterator[str]:
    chunks, ranks = placed.chunks, placed.ranks
    virtual = len(chunks) // len(ranks)
    each = "one stage each" if virtual == 1 else f"{virtual} virtual stages each"
    yield f"{len(ranks)} ranks, {each}; rank by rank: {', '.join(ranks)}"
    if origin is None:
        yield (
            f"{plan.microbatches} microbatches: --global-batch-size is {plan.microbatches} x --micro-batch-size x the "
            "data-parallel size"
        )
        why = f"; {GIVE_FILES}" if placed.problem is None else " (planner import hf writes it)"
        yield f"what only origin of a graph tells is missing{why}: {', '.join(MISSING)}"
    else:
        yield from remarks(origin, Step(len(ranks), plan.microbatches, clips=False))
    yield from _lacking(chunks)
    yield from placed.chosen.notes
    if plan.step_tasks or plan.exchanges:
        yield "step tasks (R, U, G) are not in the arguments: Megatron reduces gradients and updates weights itself"
    yield from _time(plan, placed, replayed)
    if placed.problem is not None:
        types = {device.name: device.type.name for device in placed.problem.cluster.devices}
        if len({types[device] for device in ranks}) > 1:
            yield "devices of several types: start the ranks in this order, Megatron does not tell them apart"


def _lacking(chunks: Sequence[Chunk]) -> Iterator[str]:
    """What Megatron has and the graph has not."""
    given = {layer.kind for chunk in chunks for layer in chunk.layers}
    for kind, what, where in (("E", "embedding", "first"), ("L", "loss", "last")):
        if kind not in given:
            yield f"the graph has no {what}: Megatron wants one and has it in the {where} stage"


def _time(plan: Plan, placed: Placed, replayed: Replayed | None) -> Iterator[str]:
    """How long Megatron's own order takes, and what it needs in memory."""
    own = f"Megatron runs its own order ({placed.order}) on this placement"
    if replayed is None:
        yield f"{own}, not the plan's" + ("" if placed.problem else "; --graph and --cluster tell what that takes")
        return
    rise = replayed.makespan / plan.makespan - 1.0 if plan.makespan > 0 else 0.0
    change = f" ({percent(rise)} more)" if rise > SAME else ""
    takes, planned = apart(seconds, replayed.makespan, plan.makespan)
    same = takes == planned or abs(rise) <= SAME
    beside = "as long as the plan's order" if same else f"the plan's order takes {planned}"
    yield f"{own}: {seconds(replayed.makespan) if same else takes}{change}; {beside}"
    device, peak = replayed.fullest
    yield f"in that order it needs at most {size(peak)} of memory ({device})"
    if replayed.over is not None:
        yield f"in that order it does not fit in memory: {replayed.over}"


def _on_recomputation(placed: Placed, options: MegatronOptions) -> Iterator[str]:
    yield from selective_notes(placed.chosen.choice, placed.chunks, options.recompute_modules)

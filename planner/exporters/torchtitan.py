"""A plan as a job configuration of torchtitan: the TOML that versions up to 0.2.2 read, with a schedule beside it.

Sections and fields are those of ``torchtitan/config/job_config.py`` at v0.2.2, stages and their ranks those of
``torchtitan/distributed/pipeline_parallel.py`` there: stage k on rank k mod P, or there and back for ZB-V. torchtitan
cuts its models between layers and runs torch's schedules by name, or an order from a CSV.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.common.tolerance import SAME
from planner.exporters import CannotExport, Exported, Repair
from planner.exporters.known_orders import known_orders
from planner.exporters.layers import Chunk
from planner.exporters.megatron import Layers, OverMemory, Recompute
from planner.exporters.megatron_nearest import Asked, DoesNotFit, Placed, as_planned, offered
from planner.exporters.megatron_order import shortage
from planner.exporters.megatron_recompute import Way, parse_names
from planner.exporters.partition import Stages
from planner.exporters.source import source_of
from planner.exporters.staged import Unsayable, check_round_robin, chunks_of, devices_of, layers_in, ranks_of
from planner.exporters.torch_stages import candidate_of, in_order, quickest, with_full_backwards
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.problem.made_from import MadeFrom
from planner.report.words import apart, percent, seconds

BY_NAME = {"1F1B": "1F1B", "interleaved 1F1B": "Interleaved1F1B"}
"""torch's names of the orders that it makes itself, as this project calls them."""

ACTIVATIONS = {Way.NONE: "none", Way.SELECTIVE: "selective", Way.FULL: "full"}
RESHARD = {1: "never", 2: "never", 3: "always"}
"""Whether FSDP gives up gathered weights after every forward pass, by the stage of ZeRO."""

Section = dict[str, Any]


@dataclass(frozen=True)
class TorchTitanOptions:
    """The options of the format."""

    layers: Layers = None
    recompute: Recompute = None
    repair: Repair = False
    over_memory: OverMemory = False


@dataclass(frozen=True)
class Schedule:
    """What torchtitan runs: one of torch's schedules by name or, with ``rows``, a CSV. ``makespan``: in seconds."""

    name: str
    rows: tuple[tuple[str, ...], ...] = ()
    makespan: float | None = None
    order: str | None = None  # in words, where it is not the plan's


class TorchTitan:
    """The exporter."""

    name = "torchtitan"
    help = "A job configuration of torchtitan (TOML, up to 0.2.2)."
    options = TorchTitanOptions

    def export(self, plan: Plan, problem: Problem | None, options: TorchTitanOptions) -> Exported:
        """The TOML and, where no name of torch's says the order, the schedule as ``.csv`` beside it.

        Raises ``CannotExport`` where torchtitan cannot run the plan, or not in memory, with the nearest that it can.
        """
        origin = None if problem is None else problem.graph.made_from
        found = layers_in(plan, options.layers, origin)
        if any(layer.kind == "m" for layer in found):
            raise CannotExport("torchtitan's models have no multi-token prediction; import with --no-mtp")
        asked = Asked(plan, problem, found, parse_names(options.recompute), blocks=False, program="torchtitan")
        repaired: tuple[str, ...] = ()
        try:
            chunks = chunks_of(found, devices_of(plan))
            style, chunks = _style(chunks, ranks_of(plan), problem)
            placed = as_planned(asked, chunks, ranks_of(plan))
            schedule = _scheduled(asked, placed, style, options)
        except Unsayable as reason:
            replayed = offered(asked, reason, repair=options.repair, over_memory=options.over_memory)
            placed = replayed.placed
            schedule = Schedule(BY_NAME[placed.order], makespan=replayed.makespan, order=placed.order)
            repaired = (f"repaired: {placed.order} on whole layers, {placed.chosen.choice}, since {reason}",)
        notes = (*repaired, *_notes(plan, placed, schedule, origin))
        sections = _sections(plan, placed, schedule, origin)
        if not schedule.rows:
            return Exported(toml(sections), notes=notes)

        def named(path: str) -> str:
            sections["parallelism"]["pipeline_parallel_schedule_csv"] = f"{path}.csv"
            return toml(sections)

        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(schedule.rows)
        return Exported(named("job.toml"), {".csv": text.getvalue()}, notes, named)


def _style(chunks: list[Chunk], ranks: Sequence[str], problem: Problem | None) -> tuple[str, list[Chunk]]:
    """A schedule of torch's whose stages lie on the ranks in that way, and the stages.

    On a V the two stages in the middle are neighbours on one rank: they are cut in equal halves. Raises ``Unsayable``
    where no schedule of torch's has these ranks.
    """
    devices = [chunk.device for chunk in chunks]
    if len(ranks) > 1 and devices == [*ranks, *reversed(ranks[:-1])] and len(chunks[len(ranks) - 1].layers) > 1:
        turn = len(ranks) - 1
        chunks = [*chunks[:turn], *_halves(chunks[turn], problem), *chunks[turn + 1 :]]
        return "ZBVZeroBubble", chunks
    check_round_robin(chunks, ranks)
    return "1F1B" if len(chunks) == len(ranks) else "Interleaved1F1B", chunks


def _halves(chunk: Chunk, problem: Problem | None) -> tuple[Chunk, Chunk]:
    """The layers in two parts that take as equally long as they can; as many where times are not known."""
    lengths = [1.0 for _ in chunk.layers]
    if problem is not None:
        device = next(d for d, each in enumerate(problem.cluster.devices) if each.name == chunk.device)
        index, seconds_of = problem.graph.index, problem.default.duration[:, :, device].sum(axis=1)
        lengths = [float(sum(seconds_of[index[name]] for name in layer.operators)) for layer in chunk.layers]
    whole = sum(lengths)
    cut = min(range(1, len(lengths)), key=lambda k: abs(2 * sum(lengths[:k]) - whole))
    return Chunk(chunk.device, chunk.layers[:cut]), Chunk(chunk.device, chunk.layers[cut:])


def _scheduled(asked: Asked, placed: Placed, style: str, options: TorchTitanOptions) -> Schedule:
    """The plan's order or a published one on these stages, whichever is quicker and fits in memory."""
    source = source_of(asked.plan, asked.problem)
    if not source.problem.training:
        raise CannotExport("it is of inference, and torchtitan trains")
    place = {i: k for k, i in enumerate(source.problem.topological)}
    index = source.problem.graph.index
    stages: Stages = tuple(
        tuple(sorted((index[name] for layer in chunk.layers for name in layer.operators), key=place.__getitem__))
        for chunk in placed.chunks
    )
    planned = candidate_of(source, stages)
    if planned.detours:
        raise CannotExport(f"torchtitan passes on one hidden state from stage to stage, and {planned.detours[0]}")
    best = planned if planned.costs_nothing(asked.plan) or not source.timed else quickest(source, planned)
    over = None if best.timetable is None else shortage(best.schedule.problem, best.timetable)
    if over is not None and not options.over_memory:
        raise DoesNotFit(
            f"in stages of whole layers it does not fit in memory: {over} (--over-memory exports it all the same)"
        )
    schedule, makespan = with_full_backwards(source, best)
    rows, _ = in_order(schedule, repair=True)
    for name, known in known_orders(schedule):
        if name in BY_NAME and known.rows == rows:
            return Schedule(BY_NAME[name], makespan=makespan, order=best.order)
    return Schedule(style, tuple(tuple(map(str, row)) for row in rows), makespan, best.order)


def _sections(plan: Plan, placed: Placed, schedule: Schedule, origin: MadeFrom | None) -> dict[str, Section]:
    """The sections of the TOML, of what is known."""
    ranks = len(placed.ranks)
    parallelism: Section = {"pipeline_parallel_degree": ranks}
    if ranks > 1:
        parallelism |= {
            "pipeline_parallel_schedule": schedule.name,
            "module_fqns_per_model_part": _modules(placed.chunks),
        }
    sections = {"parallelism": parallelism, "activation_checkpoint": {"mode": ACTIVATIONS[placed.chosen.choice.way]}}
    if placed.chosen.choice.way is Way.SELECTIVE:
        sections["activation_checkpoint"]["selective_ac_option"] = "op"
    if origin is None:
        return sections
    shards = origin.data if origin.zero or origin.expert > 1 else 1
    parallelism |= {
        "tensor_parallel_degree": origin.tensor,
        "context_parallel_degree": origin.context,
        "data_parallel_shard_degree": shards,
        "data_parallel_replicate_degree": origin.data // shards,
    }
    if origin.zero:
        parallelism["fsdp_reshard_after_forward"] = RESHARD[origin.zero]
    if origin.experts:
        parallelism["expert_parallel_degree"] = origin.expert
        parallelism["expert_tensor_parallel_degree"] = origin.tensor if origin.expert > 1 else 1
    local = origin.micro_batch * plan.microbatches if ranks > 1 else origin.micro_batch
    if ranks > 1:
        parallelism["pipeline_parallel_microbatch_size"] = origin.micro_batch
    training: Section = {"local_batch_size": local, "global_batch_size": origin.sequences(plan.microbatches)}
    if origin.sequence is not None:
        training["seq_len"] = origin.sequence
    training["mixed_precision_param"] = "float32" if origin.precision == "fp32" else "bfloat16"
    return {"training": training, **sections}


def _modules(chunks: Sequence[Chunk]) -> list[list[str]]:
    """The modules of every stage, as torchtitan's decoders name them."""
    number, found = 0, []
    for k, chunk in enumerate(chunks):
        names = ["tok_embeddings"] if k == 0 else []
        names += [f"layers.{number + j}" for j in range(len(chunk.decoder))]
        number += len(chunk.decoder)
        if k == len(chunks) - 1:
            names += ["norm", "output"]
        found.append(names)
    return found


def _notes(plan: Plan, placed: Placed, schedule: Schedule, origin: MadeFrom | None) -> Iterator[str]:
    ranks, stages = len(placed.ranks), len(placed.chunks)
    yield f"{ranks} pipeline ranks, {stages} stages; rank by rank: {', '.join(placed.ranks)}"
    if origin is None:
        yield (
            "what only origin of a graph tells is missing (--graph of what planner import hf writes): degrees of "
            "tensor, context, expert and data parallelism, batch sizes, seq_len"
        )
    else:
        yield f"{origin.ranks * ranks} GPUs; add [model] with name and flavor of {origin.model}, and [job]"
        if origin.data > 1 and (origin.zero == 1 or (origin.zero == 0 and origin.expert > 1)):
            why = "" if origin.zero else " (expert ranks are a part of its data_parallel_shard_degree)"
            yield f"torchtitan has FSDP for that{why}, which shards gradients too: a rank holds no more than planned"
        if origin.precision == "fp8":
            yield "FP8 is a converter of [model] and a section [quantize] there: add those of your model"
    yield from placed.chosen.notes
    if placed.chosen.choice.way is Way.SELECTIVE:
        yield "selective recomputation of torchtitan (op) keeps other outputs than that of planner import hf"
    if plan.step_tasks or plan.exchanges:
        yield "step tasks (R, U, G) are left to torchtitan; times are those of the microbatches"
    if schedule.makespan is not None:
        yield _time(plan, schedule)


def _time(plan: Plan, schedule: Schedule) -> str:
    """What the schedule takes, beside the plan's own."""
    planned = max(row.end for row in plan.tasks)
    name = f"a CSV of {schedule.order or 'the order of the plan'}" if schedule.rows else f"schedule {schedule.name}"
    rise = schedule.makespan / planned - 1.0 if schedule.makespan is not None and planned > 0.0 else 0.0
    if rise <= SAME:
        return f"{name}: {seconds(schedule.makespan)}, no longer than planned"
    takes, before = apart(seconds, float(schedule.makespan or 0.0), planned)
    return f"{name}: {takes}, {percent(rise)} more than planned ({before})"


def toml(sections: Mapping[str, Section]) -> str:
    """Sections of plain values, and of lists of lists of names, as TOML."""
    parts = []
    for name, section in sections.items():
        lines = [f"{key} = {_value(value)}\n" for key, value in section.items()]
        parts.append(f"[{name}]\n{''.join(lines)}")
    return "\n".join(parts)


def _value(value: Any) -> str:
    """JSON's texts, numbers and lists are TOML's; one line for each inner list."""
    if isinstance(value, list):
        return "[\n" + "".join(f"    {json.dumps(each)},\n" for each in value) + "]"
    return json.dumps(value)

"""A plan's placement as virtual stages of whole layers, for frameworks that cut a model between its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from planner.common.messages import shown
from planner.exporters import CannotExport
from planner.exporters.layers import Chunk, Layer, layers_of, parse_rules
from planner.plan.plan import Plan
from planner.problem.made_from import MadeFrom


class Unsayable(CannotExport):
    """The framework cannot run the plan as it is, but may run another plan of the same layers on the same ranks."""


def on_comm(plan: Plan) -> frozenset[str]:
    """The operators on the comm stream."""
    return frozenset(task.operator for task in plan.tasks if task.stream == "comm")


def ranks_of(plan: Plan) -> list[str]:
    """The devices in the order in which the forward pass of the first microbatch reaches them, without idle ones.

    Communication does not count: weights are gathered ahead.
    """
    first = sorted((t.stream == "comm", t.microbatch, t.start, t.end, k) for k, t in enumerate(plan.tasks))
    return list(dict.fromkeys(plan.tasks[k].device for *_, k in first if plan.tasks[k].pass_ == "F"))


def devices_of(plan: Plan) -> dict[str, str]:
    """The device of every operator; raises ``Unsayable`` where copies are on several."""
    found: dict[str, str] = {}
    for task in plan.tasks:
        if found.setdefault(task.operator, task.device) != task.device:
            raise Unsayable(
                f"operator {shown(task.operator)} has copies on {found[task.operator]} and {task.device}, and there "
                "every layer is placed once; solve with --copies 1"
            )
    missing = next((p.operator for p in plan.placement if p.operator not in found), None)
    if missing is not None or not found:
        raise CannotExport(f"it holds no task of operator {shown(missing)}" if missing else "it holds no tasks")
    return found


def layers_in(plan: Plan, rules: str | None, origin: MadeFrom | None) -> list[Layer]:
    """The layers, in the order of what they compute: their communication may run ahead of that.

    ``rules``: those of ``--layers``; None: those of the graph's ``origin``, and names where it has none. Raises
    ``CannotExport`` where operators belong to no layer, and where the numbers of layers are not those of ``origin``.
    """
    names = _in_order(plan)
    comm = on_comm(plan)
    place = {name: k for k, name in enumerate(names)}
    known = parse_rules(rules if rules is not None or origin is None else origin.rules)
    computed = sorted(names, key=lambda name: (name in comm, place[name]))
    found = layers_of(computed, known, every_rule=rules is not None)
    if origin is not None:
        _check_numbers(found, origin)
    return [replace(layer, operators=tuple(sorted(layer.operators, key=place.__getitem__))) for layer in found]


def _in_order(plan: Plan) -> list[str]:
    """The operators as the forward pass of the first microbatch goes through them."""
    number = {p.operator: k for k, p in enumerate(plan.placement)}
    forwards = [t for t in plan.tasks if t.pass_ == "F" and t.microbatch == 0 and t.operator in number]
    names = [t.operator for t in sorted(forwards, key=lambda t: (t.start, t.end, number[t.operator]))]
    if set(names) != set(number):
        raise CannotExport("forward passes of its first microbatch are missing; planner verify says which")
    return list(dict.fromkeys(names))


def _check_numbers(layers: Sequence[Layer], origin: MadeFrom) -> None:
    """As many layers of the decoder and of multi-token prediction as the model has."""
    wanted = {"t": origin.layers, "m": origin.mtp}
    words = {"t": ("decoder layers", "layers"), "m": ("layers of multi-token prediction", "mtp")}
    for kind, number in wanted.items():
        some = [layer.name for layer in layers if layer.kind == kind]
        if number is not None and len(some) != number:
            what, field = words[kind]
            names = f" ({', '.join(map(shown, some[:4]))}{', ...' if len(some) > 4 else ''})" if some else ""
            raise CannotExport(
                f"--layers makes {len(some)} {what} of its operators{names}, and the model has {number} "
                f"(origin.{field} of graph.yaml); its own rules are "
                f"{shown(origin.rules, 200) if origin.rules else 'those by names'}"
            )


def chunks_of(layers: Sequence[Layer], device_of: Mapping[str, str]) -> list[Chunk]:
    """Virtual stages: consecutive layers on one device; raises ``Unsayable`` where a layer is on several."""
    for layer in layers:
        devices = {device_of[name]: name for name in layer.operators}
        if len(devices) > 1:
            (a, first), (b, second) = list(devices.items())[:2]
            raise Unsayable(
                f"{layer} is split over {a} ({shown(first)}) and {b} ({shown(second)}), and there whole layers are "
                "placed; import with --cut layer, colocate its operators, or name other layers with --layers"
            )
    grouped = groupby(layers, key=lambda layer: device_of[layer.operators[0]])
    return [Chunk(device, tuple(members)) for device, members in grouped]


def check_round_robin(chunks: Sequence[Chunk], ranks: Sequence[str]) -> None:
    """Stage k on rank k mod P; raises ``Unsayable`` elsewhere."""
    for k, chunk in enumerate(chunks):
        wanted = ranks[k % len(ranks)]
        if chunk.device != wanted:
            raise Unsayable(
                f"its stages go {', '.join(c.device for c in chunks[: k + 1])}, and there they go round: after "
                f"{chunks[k - 1].device} comes {wanted}; solve with --layout linear or interleaved"
            )
    if len(chunks) % len(ranks):
        last = chunks[-1].device
        raise Unsayable(
            f"its last stage is on {last}, and there it is on the last rank, {ranks[-1]}: every rank has as many "
            "virtual stages as the others; solve with --layout linear or interleaved"
        )


def complete(chunks: Sequence[Chunk]) -> list[Chunk]:
    """The stages with an embedding first and a loss last, also where the graph has neither."""
    made = list(chunks)
    if "E" not in made[0].letters:
        made[0] = Chunk(made[0].device, (Layer("E", "embedding", ()), *made[0].layers))
    if "L" not in made[-1].letters:
        made[-1] = Chunk(made[-1].device, (*made[-1].layers, Layer("L", "loss", ())))
    return made

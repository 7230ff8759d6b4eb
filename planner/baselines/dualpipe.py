"""DualPipe: two pipelines in opposite directions over the same devices, forwards fused with backwards.

DeepSeek-AI, "DeepSeek-V3 Technical Report" (2024), and the reference implementation ``dualpipe.py`` of
https://github.com/deepseek-ai/DualPipe. Device r runs stage r of copy 0 (the first half of the microbatches)
and stage P-1-r of copy 1 (the second half).
"""

from __future__ import annotations

from typing import NamedTuple

from planner.baselines.action import Action, NotApplicable, StagePass
from planner.baselines.row import Row, Rows, lettered


def rows(ranks: int, microbatches: int) -> Rows:
    """The order of every device."""
    if ranks % 2:
        raise NotApplicable(f"DualPipe needs an even number of devices, not {ranks}")
    if microbatches % 2:
        raise NotApplicable(f"DualPipe needs an even number of microbatches, not {microbatches}")
    if microbatches < 2 * ranks:
        raise NotApplicable(
            f"DualPipe needs at least two microbatches per device: {2 * ranks} for {ranks} devices, not {microbatches}"
        )
    half = microbatches // 2
    out = []
    for r in range(ranks):
        near, far = sorted((Flow(r, 0, 0), Flow(ranks - 1 - r, 1, half)))
        out.append(row(near, far, ranks // 2, half))
    return out


class Flow(NamedTuple):
    """One direction of a pipeline on a device: its stage there, its copy, and its first microbatch."""

    stage: int
    copy: int
    first: int


def row(near: Flow, far: Flow, middle: int, microbatches: int) -> Row:
    """One device's order: two flows of ``microbatches`` each that meet between two halves of ``middle`` devices.

    ``near`` is the one that enters the pipeline at this device's end; the far one leaves it there.
    """
    actions = {kind: Action((_part(kind, near),)) for kind in "FBIW"}
    actions |= {kind.lower(): Action((_part(kind, far),)) for kind in "FBIW"}
    actions["X"] = Action((_part("F", near), _part("B", far)))
    actions["x"] = Action((_part("F", far), _part("B", near)))
    return lettered(actions, _order(near.stage, middle, microbatches))


def _part(kind: str, flow: Flow) -> StagePass:
    return StagePass(kind, flow.stage, flow.copy, flow.first)


def _order(depth: int, middle: int, microbatches: int) -> str:
    """The passes of the near flow as capital letters, of the far one as small ones; X fuses F and b, x f and B.

    ``depth``: devices between this one and the nearer end.
    """
    to_middle = middle - 1 - depth
    steady = microbatches - 2 * middle + depth + 1
    order = "F" * (2 * to_middle)  # the near flow fills the pipeline
    order += "Ff" * (depth + 1)  # the far one arrives
    order += "iwf" * to_middle  # its first backwards, split: nothing to fuse with yet
    order += "Xx" if to_middle else "Fbx"  # the middle devices have just run the forward they need
    order += "Xx" * (steady - 1)
    order += "bx" * to_middle  # the near flow has no forwards left
    # Backwards only: whole ones in the first half, then split ones, whose gradient travels sooner.
    order += ("bB" * (depth + 1))[: depth + 1]
    split = ("iI" * (depth + 1))[depth + 1 :]
    may_defer = (split + "I" * to_middle).replace("I", "W").replace("i", "w")  # first in first out
    order += split + "".join(f"{weight}I" for weight in may_defer[:to_middle]) + may_defer[to_middle:]
    return order

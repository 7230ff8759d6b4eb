"""ZeRO 3: the weights are split over the ranks that hold the same, and gathered for every forward and backward pass.

An operator gets two more, on the comm stream of its device: ``attn_weights`` gathers for the forward pass of ``attn``,
and ``attn_weights_again`` for its backward pass. The second reads ``attn`` and nobody reads it: so its input_grad,
which gathers, comes before that of ``attn``, and its forward pass has no length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from planner.importers.document import BlockDraft, EntryDraft, OperatorDraft
from planner.problem.graph import Collective, Pass, Stream


@dataclass(frozen=True)
class ShardedDraft(OperatorDraft):
    """An operator whose weights take ``gather`` seconds to gather; ``again``: also for its input_grad."""

    gather: float = 0.0
    again: bool = True


def with_gathers(entries: Sequence[EntryDraft], in_block: bool = False) -> Iterator[EntryDraft]:
    """The entries, with the gathers of the operators whose weights are split."""
    for entry in entries:
        if isinstance(entry, BlockDraft):
            output = entry.output or entry.operators[-1].name
            yield replace(entry, operators=tuple(with_gathers(entry.operators, in_block=True)), output=output)
        elif isinstance(entry, ShardedDraft):
            yield from _gathered(entry, in_block)
        else:
            yield entry


def _gathered(operator: ShardedDraft, in_block: bool) -> Iterator[OperatorDraft]:
    """The operator and its gathers. The first reads nothing, so that it can run ahead of the microbatch.

    An operator that reads the input of its block, which has no name, gets it through one that does nothing else.
    """
    name, label = f"{operator.name}_weights", operator.colocate or operator.name
    inputs = operator.inputs or ()
    if in_block and operator.inputs is None:
        inputs = (f"{operator.name}_input",)
        yield OperatorDraft(inputs[0], {Pass.F: 0.0, Pass.I: 0.0}, colocate=label)
    yield OperatorDraft(
        name, {Pass.F: operator.gather, Pass.I: 0.0}, (), Stream.COMM, colocate=label, collective=Collective.WEIGHTS
    )
    yield replace(operator, inputs=(*inputs, name), colocate=label)
    if operator.again:
        passes = {Pass.F: 0.0, Pass.I: operator.gather}
        yield OperatorDraft(
            f"{name}_again",
            passes,
            (operator.name,),
            Stream.COMM,
            colocate=label,
            collective=Collective.WEIGHTS,
        )

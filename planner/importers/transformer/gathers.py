"""ZeRO 3: the weights are split over the ranks that hold the same, and gathered for every forward and backward pass.

An operator gets two more, on the comm stream of its device: ``attn_weights`` gathers for the forward pass of ``attn``,
and ``attn_weights_again`` for its backward pass. The second reads ``attn`` and nobody reads it: so its input_grad,
which gathers, comes before that of ``attn``, and its forward pass has no length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from planner.importers.document import BlockDraft, EntryDraft, OperatorDraft
from planner.problem.graph import Pass, Stream


@dataclass(frozen=True)
class ShardedDraft(OperatorDraft):
    """An operator whose weights take ``gather`` seconds to gather; ``again``: also for its input_grad."""

    gather: float = 0.0
    again: bool = True


def with_gathers(entries: Sequence[EntryDraft]) -> Iterator[EntryDraft]:
    """The entries, with the gathers of the operators whose weights are split."""
    for entry in entries:
        if isinstance(entry, BlockDraft):
            output = entry.output or entry.operators[-1].name
            yield replace(entry, operators=tuple(with_gathers(entry.operators)), output=output)
        elif isinstance(entry, ShardedDraft):
            yield from _gathered(entry)
        else:
            yield entry


def _gathered(operator: ShardedDraft) -> Iterator[OperatorDraft]:
    """Gathers read nothing, so that they can run ahead. But the input of a block has no name: the operator that reads
    it gets it through its gather, which waits for it."""
    name, label = f"{operator.name}_weights", operator.colocate or operator.name
    first = operator.inputs is None
    yield OperatorDraft(
        name, {Pass.F: operator.gather, Pass.I: 0.0}, None if first else (), Stream.COMM, colocate=label
    )
    yield replace(operator, inputs=(*(operator.inputs or ()), name), colocate=label)
    if operator.again:
        passes = {Pass.F: 0.0, Pass.I: operator.gather}
        yield OperatorDraft(f"{name}_again", passes, (operator.name,), Stream.COMM, colocate=label)

"""Megatron-Core's ``--pipeline-model-parallel-layout``: the string, and what Megatron asks of the stages in it.

The string (``PipelineParallelLayerLayout.parse_str_to_list`` of Megatron-Core): layers as letters (E embedding, t
decoder layer, m multi-token prediction, L loss), stages apart by ``|``, ``t*8`` for eight of a letter, ``(tt|)*6`` for
six of what the parentheses hold. Stage k runs on rank k mod P as virtual stage k div P.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from planner.exporters import CannotExport
from planner.exporters.layers import Chunk
from planner.exporters.staged import Unsayable, check_round_robin, complete


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


def letters_of(chunks: Sequence[Chunk]) -> str:
    """The string for virtual stages, with the embedding and the loss that Megatron asks for."""
    return layout_of([chunk.letters for chunk in complete(chunks)])


def check_stages(chunks: Sequence[Chunk], ranks: Sequence[str], microbatches: int) -> None:
    """Whether Megatron can run the virtual stages; raises ``Unsayable`` where it cannot.

    Its placement, its checks of a layout (``validate_layer_layout``) that the order of the kinds does not imply, and
    the number of microbatches that its interleaved order wants. ``CannotExport`` where there is no decoder layer.
    """
    check_round_robin(chunks, ranks)
    if not any(layer.kind == "t" for chunk in chunks for layer in chunk.layers):
        raise CannotExport("it has no decoder layer; --layers names them, such as --layers 't=layer.*'")
    with_prediction = [k for k, chunk in enumerate(chunks) if "m" in chunk.letters]
    if len(with_prediction) > 1 or any(k < len(chunks) - len(ranks) for k in with_prediction):
        raise Unsayable(
            "Megatron wants all layers of multi-token prediction in one stage, in the last round over the ranks; "
            "colocate them in the graph"
        )
    if len(chunks) > len(ranks) and microbatches % len(ranks):
        raise Unsayable(
            f"Megatron's interleaved order wants a number of microbatches that its {len(ranks)} ranks divide, and the "
            f"plan has {microbatches}; solve with --microbatches {microbatches + -microbatches % len(ranks)}"
        )

"""The code that ONNX and torch programs share: flags, merging, and the comment on top of the graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from planner.files.errors import InputError
from planner.importers.document import Document, OperatorDraft, rounded
from planner.importers.tensors.cut import labels_of
from planner.importers.tensors.graph import Grouping, TensorNode, drafts_of, groups_of
from planner.importers.transformer.setting import Cut, Optimizer
from planner.problem.graph import Mode, Pass, Work


@dataclass(frozen=True)
class TensorFlags:
    """The flags that both commands take."""

    training: bool = True
    microbatches: int = 16
    optimizer: Optimizer = Optimizer.ADAM_FP32_MASTER
    grouping: Grouping = field(default_factory=Grouping)
    name: str | None = None
    cut: Cut = Cut.OPERATOR


def tensor_document(
    path: Path, nodes: Sequence[TensorNode], flags: TensorFlags, what: str, assumptions: Sequence[str]
) -> Document:
    """The graph of these nodes. Raises ``InputError`` if there are none."""
    if not nodes:
        raise InputError(path, None, None, "has nothing that depends on its inputs: there is nothing to plan")
    groups = groups_of(nodes, flags.grouping)
    labels = labels_of(groups, flags.cut)
    drafts = drafts_of(groups, flags.training, flags.optimizer, labels)
    summary, cut = _summary(nodes, drafts), _cut(flags.cut, len(set(labels.values())))
    return Document(
        name=flags.name or path.stem or "model",
        operators=drafts,
        header="\n".join(_header(path, flags, what, summary, cut, assumptions)),
        mode=Mode.TRAINING if flags.training else Mode.INFERENCE,
        microbatches=flags.microbatches,
        notes=(summary,) if labels or flags.cut is Cut.OPERATOR else (summary, cut),
    )


def _summary(nodes: Sequence[TensorNode], drafts: Sequence[OperatorDraft]) -> str:
    weights = {name: weight for node in nodes for name, weight in node.weights.items()}
    elements = sum(weight.elements for weight in weights.values())
    flops = sum(cost.flops for draft in drafts if isinstance(cost := draft.times[Pass.F], Work))
    return (
        f"{len(nodes)} nodes in {len(drafts)} operators; {rounded(elements, '')} weights, "
        f"{rounded(flops, 'FLOP')} forward".replace("  ", " ")
    )


def _cut(cut: Cut, labels: int) -> str:
    """Where stages may end."""
    if cut is Cut.OPERATOR:
        return "Stages may end after any operator (--cut operator), though frameworks cut between modules."
    if not labels:
        inside = "layer (a module whose path ends in an index)" if cut is Cut.LAYER else "child of a layer"
        return (
            f"Stages may end after any operator: no two of them are in one {inside}, so --cut {cut.value} does nothing."
        )
    between = "layers" if cut is Cut.LAYER else "the children of a layer, such as attention and feed-forward part"
    return (
        f"Stages end between {between} (--cut {cut.value}): {labels} modules of several operators have a colocate "
        "label. Operators outside of them have none, and nodes that joined one of another module are with it."
    )


def _header(
    path: Path, flags: TensorFlags, what: str, summary: str, cut: str, assumptions: Sequence[str]
) -> Iterator[str]:
    yield f"{path.name}, {what}, in {'training' if flags.training else 'inference'}: {summary}."
    yield ""
    yield "Formulas: docs/import.md of planner. Assumed:"
    yield "- A microbatch is the content of the model's inputs."
    yield "- work: FLOP of matrix products, convolutions and attention; bytes that every node reads and writes."
    if flags.training:
        yield (
            "- Backward takes twice the work of forward: half for the inputs and half for the weights where weights "
            "are multiplied, else all for the inputs. Operators that read only the model's inputs have no input_grad."
        )
        yield f"- parameters: weights, gradients and optimizer state ({flags.optimizer.value})."
        yield "- activation: every tensor that an operator produces; views are free."
    else:
        yield "- activation: the tensors that other operators read."
    yield "- Weights that several operators read are counted at each."
    yield from (f"- {text}" for text in assumptions)
    grouping = flags.grouping
    yield ""
    if grouping.level is not None:
        yield f"Operators are modules, {grouping.level} deep (--level)."
    elif grouping.merge:
        yield "Nodes without FLOP, lookups aside, join the operator that produces the latest of their inputs (--merge)."
    else:
        yield "Every node is an operator (--no-merge)."
    yield cut

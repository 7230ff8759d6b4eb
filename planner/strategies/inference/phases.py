"""The two phases of a strategy: the graph of a prompt and that of a decode step, and what each layer takes of a GPU.

A stage runs the kernels of its layers one after another, collectives included, as inference engines do. So in these
graphs collectives are on the compute stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from planner.importers.document import BlockDraft, Document, EntryDraft, OperatorDraft
from planner.importers.huggingface.flags import HfFlags
from planner.importers.huggingface.importer import complete
from planner.importers.huggingface.origin import made_from
from planner.importers.transformer.graph import TransformerGraph
from planner.importers.transformer.setting import Cut, Precision, Setting
from planner.prediction.graphs import StrategyGraphs
from planner.prediction.strategy import Strategy
from planner.problem import Cluster
from planner.problem.graph import Mode, Pass, Stream
from planner.runtimes.names import ANY
from planner.runtimes.registry import RUNTIMES
from planner.strategies.inference.question import Question


@dataclass(frozen=True)
class Layers:
    """What stages are cut from, in order: embedding, layers, head. A row each; seconds and bytes on one GPU.

    ``prefill``: of a pass over as many ``prompts`` as are read together; ``alone``: over one. ``caches``: of all
    sequences in flight. ``outputs``: what the operators of a layer write, in the phase with more. ``prompt_state``,
    ``alone_state``, ``token_state``: bytes that a stage sends to the next, in passes over prompts, one, and tokens.
    """

    prompts: int

    prefill: tuple[float, ...]
    alone: tuple[float, ...]
    decode: tuple[float, ...]
    weights: tuple[float, ...]
    caches: tuple[float, ...]
    outputs: tuple[float, ...]
    prompt_state: float
    alone_state: float
    token_state: float


class Phases:
    """The graphs of all strategies of a question."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.graphs = StrategyGraphs(question.model, question.cluster, question.name, calibration=question.calibration)
        self.part = self.graphs.parts[0]
        self._prompt = lru_cache(maxsize=64)(self._prompt_rows)

    @property
    def cap(self) -> float:
        """Bytes of a GPU; inf where nothing is known."""
        return self.question.memory or self.part.device.memory or float("inf")

    def layers(self, strategy: Strategy) -> Layers:
        """What the layers take. Raises ``Unfit`` where the model cannot be shared so."""
        groups, prompts = (strategy.tp, strategy.ep, strategy.dp), self.prompts(strategy)
        alone, prompt = self._prompt(*groups, 1), self._prompt(*groups, prompts)
        step = list(_rows(self._entries(self._decode(strategy))))
        return Layers(
            prompts,
            tuple(row.seconds for row in prompt),
            tuple(row.seconds for row in alone),
            tuple(row.seconds for row in step),
            tuple(row.parameters for row in prompt),
            tuple(max(0.0, b.parameters - a.parameters) for a, b in zip(prompt, step, strict=True)),
            tuple(max(a.outputs, b.outputs) for a, b in zip(prompt, step, strict=True)),
            max((row.last for row in prompt[:-1]), default=0.0),
            max((row.last for row in alone[:-1]), default=0.0),
            max((row.last for row in step[:-1]), default=0.0),
        )

    def check(self, strategy: Strategy) -> None:
        """Raise ``Unfit`` where the model cannot be shared so."""
        self._prefill(strategy, 1)

    def prompts(self, strategy: Strategy) -> int:
        """Prompts that a replica reads in one pass."""
        return self.question.together(strategy.mbs * strategy.pp)

    def documents(self, strategy: Strategy) -> tuple[Document, Document]:
        """The graphs of a decode step, with all sequences in flight, and of the prompts that are read together."""
        return self._document(self._decode(strategy), "decode"), self._document(
            self._prefill(strategy, self.prompts(strategy)), "prefill"
        )

    def stages(self, strategy: Strategy) -> Cluster:
        """A device for each stage of a replica.

        Tensor ranks come first, then those with the other experts, then stages: replicas need no network between them.
        Of replicas that lie differently on the nodes it is one that crosses most often from node to node.
        """
        ranks, node, replicas = strategy.tp * strategy.ep, self.part.per_node, strategy.dp // strategy.ep
        firsts = {first * ranks * strategy.pp % node for first in range(min(replicas, node))}
        places = [[(first + s * ranks) // node for s in range(strategy.pp)] for first in sorted(firsts)]
        worst = max(places, key=lambda nodes: sum(a != b for a, b in pairwise(nodes)))
        made = self.graphs.stages(replace(strategy, dp=strategy.ep))
        devices = tuple(
            replace(device, node=f"n{node}", memory=self.question.memory or device.memory)
            for device, node in zip(made.devices, worst, strict=True)
        )
        return replace(made, devices=devices)

    def _prompt_rows(self, tp: int, ep: int, dp: int, prompts: int) -> list[_Row]:
        strategy = strategy_of(self.question, tp, ep, 1, dp, 1)
        return list(_rows(self._entries(self._prefill(strategy, prompts))))

    def _prefill(self, strategy: Strategy, prompts: int) -> Setting:
        """So many prompts in one pass."""
        return complete(
            self.question.model,
            HfFlags(replace(self._setting(strategy), micro_batch=prompts), self.question.prompt, data=strategy.dp),
        )

    def _decode(self, strategy: Strategy) -> Setting:
        """A token of each sequence of a microbatch, with room for whole answers."""
        setting = replace(
            self._setting(strategy),
            micro_batch=strategy.mbs,
            microbatches=strategy.pp,
            cached=self.question.cached,
            reserved=self.question.prompt + self.question.output,
        )
        return complete(self.question.model, HfFlags(setting, data=strategy.dp))

    def _setting(self, strategy: Strategy) -> Setting:
        return Setting(
            microbatches=1,
            tensor=strategy.tp,
            expert=strategy.ep,
            data=strategy.dp,
            precision=Precision(strategy.precision),
            training=False,
            last_logits=True,
            cut=Cut.LAYER,
            pipeline=strategy.pp,
            interconnect=1.0,  # collectives have calibrated times
            pricing=self.graphs.pricing(strategy, RUNTIMES[ANY], self.part),
        )

    def _entries(self, setting: Setting) -> list[EntryDraft]:
        return _in_sequence(TransformerGraph(self.question.model, setting).entries)

    def _document(self, setting: Setting, phase: str) -> Document:
        entries, question = self._entries(setting), self.question
        count = setting.micro_batch
        each = f"one new token of {count} sequences" if setting.decodes else f"prompts, {count} together,"
        header = (
            f"{question.name}, {phase}: {each} a microbatch, by planner strategy --mode inference. Times are those of "
            "the calibration. Collectives are on the compute stream, since a stage runs its kernels in order."
        )
        origin = made_from(question.name, question.model, setting, self.graphs.totals(setting.tokens, setting), entries)
        return Document(
            f"{question.name}-{phase}", entries, header, Mode.INFERENCE, setting.microbatches, origin=origin
        )


def strategy_of(question: Question, tp: int, ep: int, pp: int, dp: int, mbs: int) -> Strategy:
    """The strategy with these degrees; ``gbs``: the sequences in flight."""
    return Strategy(
        gpus=tp * pp * dp, tp=tp, cp=1, ep=ep, pp=pp, dp=dp, vpp=1, mbs=mbs, gbs=mbs * pp * dp, seq=question.prompt,
        recompute="none", zero=0, precision=question.precision, schedule="best", runtime=ANY,
    )  # fmt: skip


@dataclass(frozen=True)
class _Row:
    """Of one layer in one phase: seconds, bytes of parameters, of all outputs, of the last output."""

    seconds: float
    parameters: float
    outputs: float
    last: float


def _rows(entries: Sequence[EntryDraft]) -> Iterator[_Row]:
    """A row for each layer, and for each operator outside of layers."""
    for entry in entries:
        if isinstance(entry, OperatorDraft):
            yield _row([entry])
        elif any(isinstance(each, BlockDraft) for each in entry.operators):
            inner = list(_rows(entry.operators))
            for _ in range(entry.repeat):
                yield from inner
        else:
            row = _row([each for each in entry.operators if isinstance(each, OperatorDraft)])
            for _ in range(entry.repeat):
                yield row


def _row(drafts: Sequence[OperatorDraft]) -> _Row:
    return _Row(
        sum(_seconds(draft) for draft in drafts),
        sum(draft.parameters for draft in drafts),
        sum(draft.output for draft in drafts),
        drafts[-1].output,
    )


def _seconds(draft: OperatorDraft) -> float:
    cost = draft.times[Pass.F]
    assert isinstance(cost, int | float)  # kernels have prices
    return float(cost)


def _in_sequence(entries: Sequence[EntryDraft]) -> list[EntryDraft]:
    """The entries with every operator on the compute stream."""
    return [
        replace(entry, operators=_in_sequence(entry.operators))
        if isinstance(entry, BlockDraft)
        else replace(entry, stream=Stream.COMPUTE, collective=None)
        for entry in entries
    ]

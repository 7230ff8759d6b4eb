"""From the cost of an operator to its entry in ``graph.yaml``: passes, memory and output, by setting."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from planner.importers.document import OperatorDraft
from planner.importers.transformer.costs import Cost, plus
from planner.importers.transformer.gathers import ShardedDraft
from planner.importers.transformer.setting import Optimizer, Recompute, Setting, WeightGrad, weight_bytes
from planner.importers.transformer.step import between_replicas, step_of, weights
from planner.problem.graph import Collective, Pass, PassTime, Stream, Work


@dataclass(frozen=True)
class Counted:
    """An operator's cost and number of repetitions, for the totals of the header."""

    name: str
    cost: Cost
    times: int


class Drafts:
    """Makes the entries of one graph and records their costs."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.counted: list[Counted] = []
        self.times = 1  # repetitions of the block that is being drafted

    def compute(
        self,
        name: str,
        cost: Cost,
        output: float,
        own_input: float,
        inputs: tuple[str, ...] | None = None,
        replicas: int | None = None,
        cache: float = 0.0,
        frozen: bool = False,
        colocate: str | None = None,
    ) -> OperatorDraft:
        """An operator on the compute stream.

        ``own_input``: the bytes that full recomputation starts from; ``replicas``: ranks that hold the same weights;
        ``cache``: bytes of keys and values that inference keeps.
        """
        setting = self.setting
        replicas = setting.dense_replicas if replicas is None else replicas
        self.counted.append(Counted(name, cost, self.times))
        draft: OperatorDraft = OperatorDraft(
            name,
            {Pass.F: self._time(cost, Pass.F)},
            inputs,
            parameters=self._parameters(cost, replicas, frozen),
            activation=output + cache,
            output=output,
            colocate=colocate,
        )
        if not setting.training:
            return draft
        seconds = self._gather(cost, replicas)
        if seconds:
            draft = ShardedDraft(**vars(draft), gather=seconds, again=not frozen and cost.input_grad != Work())
        if frozen:
            return replace(draft, times={Pass.F: self._time(cost, Pass.F), Pass.I: Work()}, activation=0.0)
        step = step_of(cost, setting, replicas)
        return replace(draft, step=step.times, gradient=step.gradient, **self._backward(cost, own_input))

    def _backward(self, cost: Cost, own_input: float) -> dict[str, Any]:
        """Passes and memory in training.

        ``activation`` covers both the bytes that F keeps and those that W needs, so it is the larger. With
        recomputation, input_grad also computes the gradients of the weights, as frameworks do.
        """
        setting = self.setting
        both = (Pass.I,) if setting.optimizer is Optimizer.NONE else (Pass.I, Pass.W)
        times: dict[Pass, PassTime] = {Pass.F: self._time(cost, Pass.F), Pass.I: self._time(cost, *both)}
        if setting.recompute is Recompute.FULL:
            return {"times": {**times, Pass.I: self._time(cost, Pass.F, *both)}, "activation": own_input}
        if not self._split(cost):
            return {"times": times, "activation": self._kept(cost)}
        times |= {Pass.I: self._time(cost, Pass.I), Pass.W: self._time(cost, Pass.W)}
        return {"times": times, "activation": max(self._kept(cost), cost.held), "held_for_weight_grad": cost.held}

    def _kept(self, cost: Cost) -> float:
        """Bytes from F to I."""
        pricing = self.setting.pricing
        return cost.kept if pricing is None else cost.kept + (pricing.kept - 1) * cost.unfused

    def _time(self, cost: Cost, *passes: Pass) -> PassTime:
        """What some passes take together: their work, or seconds where kernels have prices."""
        pricing = self.setting.pricing
        if pricing is not None:
            return pricing.seconds([kernel for kernel in cost.kernels if kernel.which in passes])
        some = {Pass.F: cost.forward, Pass.I: cost.input_grad, Pass.W: cost.weight_grad}
        return reduce(plus, (some[which] for which in passes))

    def _gather(self, cost: Cost, replicas: int) -> float:
        """Seconds in which a pass gathers the weights, where they are split."""
        if not self.setting.gathers:
            return 0.0
        return between_replicas("all_gather", weights(cost, self.setting), replicas, self.setting)

    def _split(self, cost: Cost) -> bool:
        """Whether the gradients of the weights are a pass of their own."""
        setting = self.setting
        if cost.weight_grad == Work() or setting.optimizer is Optimizer.NONE:
            return False
        if setting.recompute is Recompute.SELECTIVE:
            return setting.weight_grad is WeightGrad.FITTING and cost.held <= cost.kept
        return setting.weight_grad is not WeightGrad.NEVER

    def _parameters(self, cost: Cost, replicas: int, frozen: bool) -> float:
        """Bytes of weights, gradients and optimizer state on this rank."""
        setting = self.setting
        gemm = weight_bytes(setting, True, frozen).sharded(setting.zero, replicas)
        other = weight_bytes(setting, False, frozen).sharded(setting.zero, replicas)
        return cost.matrices * gemm.total + cost.vectors * other.total + cost.factors * gemm.factored

    def communicate(
        self,
        name: str,
        collective: Collective,
        seconds: float,
        seconds_back: float,
        output: float,
        inputs: tuple[str, ...] | None = None,
    ) -> OperatorDraft:
        """A collective on the comm stream, with its seconds forward and in backward."""
        times: dict[Pass, PassTime] = {Pass.F: seconds}
        if self.setting.training:
            times[Pass.I] = seconds_back
        return OperatorDraft(
            name,
            times,
            inputs,
            stream=Stream.COMM,
            collective=collective,
            activation=0.0 if self.setting.training else output,
            output=output,
        )

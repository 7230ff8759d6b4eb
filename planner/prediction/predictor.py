"""Seconds of a step and bytes of the fullest rank of a strategy.

A strategy becomes what a plan is made of: the operator graph of one rank of each stage, with step tasks, and a
published schedule, replayed as the runtime runs it (``planner.runtimes``). Kernels and collectives have calibrated
times (``planner.costs``). Graphs that strategies share are made once, and so are equal stages and microbatches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from planner.baselines import SCHEDULES, NotApplicable, baseline_timetable
from planner.common.budget import Control
from planner.importers.huggingface.config import Unfit
from planner.importers.transformer.model import Model
from planner.importers.transformer.setting import WeightGrad
from planner.prediction.graphs import StrategyGraphs
from planner.prediction.outcome import Prediction
from planner.prediction.strategy import Strategy
from planner.problem import Cluster, Impossible, Problem, ProblemError
from planner.runtimes.registry import RUNTIMES
from planner.runtimes.runtime import Runtime
from planner.runtimes.whole_passes import WHOLE_BACKWARD
from planner.search.as_run import RuntimeSearch
from planner.search.incumbent import Incumbent
from planner.timetable.figures import Figures
from planner.timetable.figures import figures as whole_figures


class Predictor:
    """Predicts strategies of one model on one cluster, whose devices are its GPUs.

    Raises ``ProblemError`` where the devices are of several types, or of one that has neither a calibration nor rates.
    """

    def __init__(
        self,
        model: Model,
        cluster: Cluster,
        runtimes: Mapping[str, Runtime] | None = None,
        share: float | None = None,
        calibration: str | None = None,
    ) -> None:
        """``runtimes``, ``share``: in place of those of the program, for fitting their constants.

        ``calibration``: a shipped one by name or a file, in place of that of the device type.
        """
        self.graphs = StrategyGraphs(model, cluster, share=share, calibration=calibration)
        if len(self.graphs.parts) > 1:
            some = ", ".join(sorted(part.device.type.name for part in self.graphs.parts))
            raise ProblemError(f"predictions are for GPUs of one type, and the cluster has {some}: give it one of them")
        self.device = self.graphs.parts[0].device
        self.runtimes = {**RUNTIMES, **(runtimes or {})}
        self._graph = lru_cache(maxsize=256)(self.graphs.graph)

    def predict(self, strategy: Strategy) -> Prediction:
        """One strategy; what cannot be run or predicted has a reason and no figures."""
        try:
            figures = self._run(strategy, self.runtimes[strategy.runtime])
        except (NotApplicable, Unfit, Impossible, ValueError) as reason:
            return Prediction(None, None, None, str(reason))
        peak = figures.peak_memory
        return Prediction(figures.makespan, peak, self.device.memory is None or peak <= self.device.memory)

    def _run(self, strategy: Strategy, runtime: Runtime) -> Figures:
        name = strategy.schedule
        if strategy.pp == 1 or (SCHEDULES[name].family == "interleaved" and strategy.vpp == 1):
            name = "1f1b"
        chunks = strategy.vpp if SCHEDULES[name].family == "interleaved" else SCHEDULES[name].chunks
        weight_grad = WeightGrad.NEVER if name in WHOLE_BACKWARD else WeightGrad.STORED
        graph = self._graph(replace(strategy, schedule=name), weight_grad, runtime)
        copies = 2 if SCHEDULES[name].family == "bidirectional" else 1
        problem = Problem(graph, self.graphs.stages(strategy), graph.microbatches, copies=copies)
        if runtime.is_any:  # the strongest reading: streams overlap across stage passes
            return whole_figures(problem, baseline_timetable(name, replace(problem, chunks=chunks)))
        search = RuntimeSearch(problem, runtime, Incumbent(problem, Control(), 0.0, lambda _: None))
        figures = search.published(name, chunks)
        if figures is None:
            raise NotApplicable("; ".join(dict.fromkeys(search.reasons)) or f"no stages for {SCHEDULES[name].title}")
        return figures

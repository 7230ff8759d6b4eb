"""Seconds of a step and bytes of the fullest rank of a strategy.

A strategy becomes what a plan is made of: the operator graph of one rank of each stage, with step tasks, and a
published schedule, replayed as the runtime runs it (``planner.runtimes``). Kernels and collectives have calibrated
times (``planner.costs``). Graphs that strategies share are made once, and so are equal stages and microbatches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from planner.baselines import SCHEDULES, NotApplicable, baseline_timetable
from planner.common.budget import Control
from planner.costs.collectives import NETWORK_EFFICIENCY, Network, send_seconds
from planner.files.graph_file import graph_of
from planner.files.yaml_source import source_of
from planner.importers.document import Document, to_yaml
from planner.importers.huggingface.config import Unfit
from planner.importers.huggingface.flags import HfFlags
from planner.importers.huggingface.importer import complete
from planner.importers.transformer.calibrated import Calibrated, accelerator_named, accelerator_of, ranks_per_node
from planner.importers.transformer.choices import entries_of
from planner.importers.transformer.model import Model
from planner.importers.transformer.setting import Cut, Precision, Recompute, Setting, WeightGrad
from planner.prediction.outcome import Prediction
from planner.prediction.strategy import Strategy
from planner.problem import Cluster, Device, DeviceType, Graph, Impossible, NetworkLevel, Problem, ProblemError
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
        kinds = {device.type.name for device in cluster.devices}
        if len(kinds) > 1:
            some = ", ".join(sorted(kinds))
            raise ProblemError(f"predictions are for GPUs of one type, and the cluster has {some}: give it one of them")
        self.model, self.cluster = model, cluster
        self.device = cluster.devices[0]
        try:
            self.accelerator = (
                accelerator_of(self.device.type, cluster.within_node, share)
                if calibration is None
                else accelerator_named(calibration)
            )
        except ValueError as error:
            raise ProblemError(f"no prediction for this cluster: {error}") from error
        self.runtimes = {**RUNTIMES, **(runtimes or {})}
        nodes: dict[str | None, int] = {}
        for device in cluster.devices:
            nodes[device.node] = nodes.get(device.node, 0) + 1
        self.gpus_per_node = max(nodes.values())
        self.inside, self.between = cluster.within_node, cluster.between_nodes
        self.network = _network(cluster.between_nodes)
        self._graph = lru_cache(maxsize=256)(self._made)

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
        problem = Problem(graph, self._stages(strategy), graph.microbatches, copies=copies)
        if runtime.is_any:  # the strongest reading: streams overlap across stage passes
            return whole_figures(problem, baseline_timetable(name, replace(problem, chunks=chunks)))
        search = RuntimeSearch(problem, runtime, Incumbent(problem, Control(), 0.0, lambda _: None))
        figures = search.published(name, chunks)
        if figures is None:
            raise NotApplicable("; ".join(dict.fromkeys(search.reasons)) or f"no stages for {SCHEDULES[name].title}")
        return figures

    def _made(self, strategy: Strategy, weight_grad: WeightGrad, runtime: Runtime) -> Graph:
        setting = Setting(
            micro_batch=strategy.mbs,
            tokens=strategy.seq,
            decoder_tokens=strategy.seq,
            microbatches=strategy.microbatches,
            tensor=strategy.tp,
            context=strategy.cp,
            expert=strategy.ep,
            data=strategy.dp,
            precision=Precision(strategy.precision),
            zero=strategy.zero,
            recompute=Recompute(strategy.recompute),
            weight_grad=weight_grad,
            cut=Cut.LAYER,
            interconnect=1.0,  # collectives have calibrated times
            pricing=self._pricing(strategy, runtime),
        )
        setting = complete(self.model, HfFlags(setting, strategy.seq, data=strategy.dp))
        entries = entries_of(self.model, setting)
        document = Document("predicted", entries, microbatches=setting.microbatches, clip_gradients=setting.steps)
        return graph_of(source_of(to_yaml(document).encode(), Path("predicted")))

    def _pricing(self, strategy: Strategy, runtime: Runtime) -> Calibrated:
        """Of the strategy's groups of ranks."""
        per_node = ranks_per_node(strategy.tp, strategy.cp, self.gpus_per_node)
        precision = Precision(strategy.precision)
        return Calibrated(
            self.accelerator, self.network, per_node, precision, runtime.host_seconds, runtime.moved, runtime.kept
        )

    def _stages(self, strategy: Strategy) -> Cluster:
        """A device for each stage, on the node where its first rank is."""
        ranks = strategy.tp * strategy.cp * strategy.dp
        memory = self.device.memory
        kind = DeviceType(self.device.type.name, memory=memory)
        devices = tuple(
            Device(f"stage{s}", "stage", kind, f"n{s * ranks // self.gpus_per_node}", memory)
            for s in range(strategy.pp)
        )
        inside = self._sends()
        between = self.between
        if between is not None and between.bandwidth is not None:
            between = NetworkLevel(between.bandwidth * NETWORK_EFFICIENCY, between.latency)
        return Cluster("stages", devices, {kind.name: kind}, inside, between)

    def _sends(self) -> NetworkLevel | None:
        """Transfers between stages of one node, at the measured rate of a large send, where there is one."""
        link = self.accelerator.links.get("send")
        if link is None or self.inside is None:
            return self.inside
        small, large = (send_seconds(self.accelerator, size, True, None) for size in (1e6, 1e8))
        bandwidth = (1e8 - 1e6) / max(large - small, 1e-12)
        return NetworkLevel(bandwidth, max(0.0, large - 1e8 / bandwidth))


def _network(level: NetworkLevel | None) -> Network | None:
    if level is None or level.bandwidth is None:
        return None
    return Network(level.bandwidth, level.latency)

"""What a strategy is made of: the operator graph of one rank of each stage, with step tasks, and a device a stage.

Kernels and collectives have calibrated times (``planner.costs``). On a cluster with devices of several types every pass
has a time on each of them, and each stage is on ranks of one type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

from planner.costs.accelerator import Accelerator
from planner.costs.collectives import NETWORK_EFFICIENCY, Network, send_seconds
from planner.files.graph_file import graph_of
from planner.files.yaml_source import source_of
from planner.importers.document import BlockDraft, Document, EntryDraft, OperatorDraft, to_yaml
from planner.importers.huggingface.flags import HfFlags
from planner.importers.huggingface.importer import complete
from planner.importers.huggingface.origin import made_from
from planner.importers.transformer.calibrated import Calibrated, accelerator_named, accelerator_of, ranks_per_node
from planner.importers.transformer.choices import entries_of
from planner.importers.transformer.model import Model
from planner.importers.transformer.setting import Cut, Precision, Recompute, Setting, WeightGrad
from planner.importers.transformer.totals import Totals, totals
from planner.prediction.strategy import Strategy
from planner.problem import Cluster, Device, DeviceType, Graph, NetworkLevel, ProblemError
from planner.problem.graph import ByDevice, Pass, PassTime
from planner.runtimes.runtime import Runtime


@dataclass(frozen=True)
class Part:
    """The GPUs of one type: how many there are, and on a node; what their kernels take."""

    device: Device
    gpus: int
    per_node: int
    accelerator: Accelerator


class StrategyGraphs:
    """Graphs and stages of the strategies of one model on one cluster, whose devices are its GPUs.

    ``parts``: the types of GPUs in the cluster's order. Raises ``ProblemError`` where a type has neither a calibration
    nor rates.
    """

    def __init__(
        self,
        model: Model,
        cluster: Cluster,
        name: str = "model",
        share: float | None = None,
        calibration: str | None = None,
        images: int | None = None,
        image_pixels: int | None = None,
    ) -> None:
        """``name`` of the model; ``calibration``: a shipped one by name or a file, in place of that of the device type.

        ``share``: of its rates that a step keeps, for fitting. ``images`` of ``image_pixels`` in a sequence, for models
        that see.
        """
        self.model, self.cluster, self.name = model, cluster, name
        self.images, self.image_pixels = images, image_pixels
        self.inside, self.between = cluster.within_node, cluster.between_nodes
        self.network = _network(cluster.between_nodes)
        self.parts = tuple(self._part(kind, share, calibration) for kind in _types(cluster))
        self._entries = lru_cache(maxsize=256)(self._priced)

    def _part(self, kind: str, share: float | None, calibration: str | None) -> Part:
        devices = [device for device in self.cluster.devices if device.type.name == kind]
        nodes: dict[str | None, int] = {}
        for device in devices:
            nodes[device.node] = nodes.get(device.node, 0) + 1
        try:
            accelerator = (
                accelerator_of(devices[0].type, self.inside, share)
                if calibration is None
                else accelerator_named(calibration)
            )
        except ValueError as error:
            raise ProblemError(f"no prediction for this cluster: {error}") from error
        return Part(devices[0], len(devices), max(nodes.values()), accelerator)

    @property
    def gpus_per_node(self) -> int:
        """Of the type that has the fewest: tensor ranks of every stage fit in a node."""
        return min(part.per_node for part in self.parts)

    @property
    def has_branches(self) -> bool:
        """Whether some stages may not wait for those before them: another tower, or more than one head."""
        return self.model.encoder is not None or self.model.vision is not None or self.model.mtp > 0

    def graph(self, strategy: Strategy, weight_grad: WeightGrad, runtime: Runtime, cut: Cut = Cut.LAYER) -> Graph:
        """The graph of a strategy. Raises ``Unfit`` where the model or the flags do not fit."""
        entries, setting = self._entries(strategy, weight_grad, runtime, cut)
        document = Document("predicted", entries, microbatches=setting.microbatches, clip_gradients=setting.steps)
        return graph_of(source_of(to_yaml(document).encode(), Path("predicted")))

    def document(self, strategy: Strategy, weight_grad: WeightGrad, runtime: Runtime, cut: Cut = Cut.LAYER) -> Document:
        """The same as a file, with what it was made from. Raises ``Unfit``."""
        entries, setting = self._entries(strategy, weight_grad, runtime, cut)
        origin = made_from(self.name, self.model, setting, self.totals(setting.tokens, setting), entries)
        return Document(
            self.name,
            entries,
            microbatches=setting.microbatches,
            clip_gradients=setting.steps and setting.clip_gradients,
            origin=origin,
        )

    @cached_property
    def _totals(self) -> dict[int, Totals]:
        return {}

    def totals(self, tokens: int, setting: Setting) -> Totals:
        """Weights and FLOP of the model alone, with sequences of so many tokens."""
        if tokens not in self._totals:
            self._totals[tokens] = totals(self.model, setting)
        return self._totals[tokens]

    def entries(
        self, strategy: Strategy, weight_grad: WeightGrad, runtime: Runtime, cut: Cut = Cut.LAYER
    ) -> tuple[Sequence[EntryDraft], Setting]:
        """The entries of the graph, and the setting that they are for. Raises ``Unfit``."""
        return self._entries(strategy, weight_grad, runtime, cut)

    def check(self, strategy: Strategy, weight_grad: WeightGrad, runtime: Runtime) -> None:
        """Raise ``Unfit`` where the model cannot be shared so."""
        for part in self.parts:
            self._setting(strategy, weight_grad, runtime, part, Cut.LAYER)

    def _priced(
        self, strategy: Strategy, weight_grad: WeightGrad, runtime: Runtime, cut: Cut
    ) -> tuple[Sequence[EntryDraft], Setting]:
        by_type = {}
        for part in self.parts:
            setting = self._setting(strategy, weight_grad, runtime, part, cut)
            by_type[part.device.type.name] = entries_of(self.model, setting)
        return (by_type.popitem()[1] if len(by_type) == 1 else merged(by_type)), setting

    def _setting(self, strategy: Strategy, weight_grad: WeightGrad, runtime: Runtime, part: Part, cut: Cut) -> Setting:
        setting = Setting(
            micro_batch=strategy.mbs,
            tokens=strategy.seq,
            decoder_tokens=strategy.seq,
            image_pixels=self.image_pixels,
            microbatches=strategy.microbatches,
            tensor=strategy.tp,
            context=strategy.cp,
            expert=strategy.ep,
            data=strategy.dp,
            precision=Precision(strategy.precision),
            zero=strategy.zero,
            recompute=Recompute(strategy.recompute),
            weight_grad=weight_grad,
            cut=cut,
            pipeline=strategy.pp,
            interconnect=1.0,  # collectives have calibrated times
            pricing=self.pricing(strategy, runtime, part),
        )
        return complete(self.model, HfFlags(setting, strategy.seq, data=strategy.dp, images=self.images))

    def pricing(self, strategy: Strategy, runtime: Runtime, part: Part) -> Calibrated:
        """What kernels and collectives take between the strategy's groups of ranks, on GPUs of one type."""
        per_node = ranks_per_node(strategy.tp, strategy.cp, part.per_node)
        precision = Precision(strategy.precision)
        return Calibrated(
            part.accelerator, self.network, per_node, precision, runtime.host_seconds, runtime.moved, runtime.kept
        )

    def stages(self, strategy: Strategy, order: Sequence[str] = ()) -> Cluster:
        """A device for each stage, on the node where its first rank is.

        ``order``: of the types of GPUs along the pipeline; by default the cluster's.
        """
        ranks = strategy.tp * strategy.cp * strategy.dp
        by_name = {part.device.type.name: part for part in self.parts}
        parts = [by_name[kind] for kind in order or by_name]
        devices: list[Device] = []
        types: dict[str, DeviceType] = {}
        for part in parts:
            kind, memory = part.device.type, part.device.memory
            types[kind.name] = kind
            count = strategy.pp if len(parts) == 1 else part.gpus // ranks
            node = f"{kind.name}-n" if len(parts) > 1 else "n"
            devices += [
                Device(f"stage{len(devices) + s}", "stage", kind, f"{node}{s * ranks // part.per_node}", memory)
                for s in range(count)
            ]
        between = self.between
        if between is not None and between.bandwidth is not None:
            between = NetworkLevel(between.bandwidth * NETWORK_EFFICIENCY, between.latency)
        return Cluster("stages", tuple(devices), types, self._sends(), between)

    def _sends(self) -> NetworkLevel | None:
        """Transfers between stages of one node, at the measured rate of a large send, where there is one."""
        if len(self.parts) > 1:
            return self.inside
        accelerator = self.parts[0].accelerator
        if accelerator.links.get("send") is None or self.inside is None:
            return self.inside
        small, large = (send_seconds(accelerator, size, True, None) for size in (1e6, 1e8))
        bandwidth = (1e8 - 1e6) / max(large - small, 1e-12)
        return NetworkLevel(bandwidth, max(0.0, large - 1e8 / bandwidth))


def merged(by_type: Mapping[str, Sequence[EntryDraft]]) -> list[EntryDraft]:
    """The entries of graphs that differ in times alone, with the times of each type of device."""
    columns = zip(*by_type.values(), strict=True)
    return [_merged(dict(zip(by_type, column, strict=True))) for column in columns]


def _merged(those: Mapping[str, EntryDraft]) -> EntryDraft:
    first = next(iter(those.values()))
    if isinstance(first, BlockDraft):
        inner = {kind: each.operators for kind, each in those.items() if isinstance(each, BlockDraft)}
        return replace(first, operators=merged(inner))
    operators = {kind: each for kind, each in those.items() if isinstance(each, OperatorDraft)}
    variants = tuple(
        replace(variant, times=_times({kind: each.variants[k].times for kind, each in operators.items()}))
        for k, variant in enumerate(first.variants)
    )
    return replace(
        first,
        times=_times({kind: each.times for kind, each in operators.items()}),
        step=_times({kind: each.step for kind, each in operators.items()}),
        variants=variants,
    )


def _times(those: Mapping[str, Mapping[Pass, PassTime]]) -> dict[Pass, PassTime]:
    """Times by type of device; one number where all are alike."""
    found: dict[Pass, PassTime] = {}
    for which in dict.fromkeys(which for times in those.values() for which in times):
        seconds = {kind: times[which] for kind, times in those.items()}
        numbers = {kind: float(value) for kind, value in seconds.items() if isinstance(value, int | float)}
        same = len(set(numbers.values())) == 1
        found[which] = next(iter(numbers.values())) if same else ByDevice(numbers)
    return found


def _types(cluster: Cluster) -> list[str]:
    return list(dict.fromkeys(device.type.name for device in cluster.devices))


def _network(level: NetworkLevel | None) -> Network | None:
    if level is None or level.bandwidth is None:
        return None
    return Network(level.bandwidth, level.latency)

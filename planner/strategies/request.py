"""What is asked: a model, a cluster, a batch, and what is fixed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property

from planner.importers.transformer.model import Model
from planner.problem import Cluster
from planner.runtimes.names import ANY
from planner.runtimes.registry import RUNTIMES
from planner.runtimes.runtime import Runtime

RUNNABLE = "runnable"
"""Plans that the runtime can run; ``any``: every plan of the device model."""

DEGREES = ("tp", "cp", "ep", "pp", "dp", "mbs", "zero")
"""What ``fixed`` may name, each with the values that it may have."""


@dataclass(frozen=True)
class Request:
    """One question.

    ``name``, ``model``: the model; ``source``: all of it as text, with a calibration that is a file, and
    ``cluster.sha256`` that of the cluster's, which together with the flags tell questions apart. ``global_batch``:
    sequences a step; ``sequence``: tokens of each. ``gpus``: numbers of GPUs to use, of each number all strategies.
    ``memory``: bytes of a GPU, in place of the cluster's. ``fixed``: the values of degrees that are allowed, by name.
    ``recompute``: ``choose`` leaves it to plans.
    """

    name: str
    model: Model
    source: str
    cluster: Cluster
    global_batch: int
    sequence: int
    gpus: tuple[int, ...]
    runtime: str = "megatron"
    schedules: str = RUNNABLE
    precision: str = "bf16"
    recompute: str = "choose"
    memory: float | None = None
    calibration: str | None = None
    images: int | None = None
    image_pixels: int | None = None
    fixed: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    seed: int = 0

    @property
    def runs(self) -> Runtime:
        """The runtime whose plans are asked for: with ``schedules`` any, the device model as it is."""
        return RUNTIMES[self.runtime if self.schedules == RUNNABLE else ANY]

    def allows(self, name: str, value: int) -> bool:
        """Whether a degree may have the value."""
        return name not in self.fixed or value in self.fixed[name]

    @property
    def flags(self) -> dict[str, object]:
        """Everything but model and cluster, as JSON."""
        left_out = {"model", "cluster", "source"}
        found = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in left_out}
        return {**found, "gpus": list(self.gpus), "fixed": {k: list(v) for k, v in self.fixed.items()}}

    @cached_property
    def key(self) -> dict[str, object]:
        """What results depend on, as JSON."""
        model = hashlib.sha256(self.source.encode("utf-8")).hexdigest()
        return {"model": model, "cluster": self.cluster.sha256, **self.flags}

    @cached_property
    def digest(self) -> str:
        """A short name of the question."""
        return hashlib.sha256(json.dumps(self.key, sort_keys=True).encode("utf-8")).hexdigest()

"""The operator graph: what one microbatch computes, operator by operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Pass(StrEnum):
    """One of the three passes of an operator over a microbatch."""

    F = "F"  # forward
    I = "I"  # gradient of the input
    W = "W"  # gradient of the weights


PASS_ORDER: tuple[Pass, ...] = (Pass.F, Pass.I, Pass.W)

PASS_KEYS = {Pass.F: "forward", Pass.I: "input_grad", Pass.W: "weight_grad"}
"""What graph.yaml calls them."""


class Stream(StrEnum):
    """The stream of its device that an operator occupies."""

    COMPUTE = "compute"
    COMM = "comm"


class Mode(StrEnum):
    """Training runs F, I and W; inference runs F alone."""

    TRAINING = "training"
    INFERENCE = "inference"


@dataclass(frozen=True, slots=True)
class ByDevice:
    """Seconds by device name, device group or device type; a device that no entry covers cannot run it."""

    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Work:
    """Work of a pass, from which the device type makes a time (roofline)."""

    flops: float = 0.0  # FLOP
    bytes: float = 0.0  # bytes moved to and from device memory


PassTime = float | ByDevice | Work
"""Seconds everywhere, seconds by device, or work for the roofline."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a file, for messages: ``operators[3].devices[0]`` in line 12."""

    line: int
    field: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a file states an operator, and where the names of devices that it gives stand."""

    line: int
    devices: Mapping[str, Spot]
    times: Mapping[Pass, tuple[Spot, Mapping[str, Spot]]]
    """Of the passes that have a time by device: where the pass stands, and each name."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of the expanded graph (blocks are unrolled: ``layer.3.attn``).

    ``times`` holds the passes that exist, F first; in training F and I always do.
    Sizes are bytes and are those of rule 5 of the plan's semantics: ``parameters`` once a device,
    ``activation`` a microbatch from the start of F to the end of I, ``held_for_weight_grad`` from then to
    the end of W, ``output`` what a consumer on another device receives.
    """

    name: str
    times: Mapping[Pass, PassTime]
    inputs: tuple[str, ...] = ()
    stream: Stream = Stream.COMPUTE
    parameters: float = 0.0
    activation: float = 0.0
    held_for_weight_grad: float = 0.0
    output: float = 0.0
    colocate: str | None = None
    devices: tuple[str, ...] | None = None
    origin: Origin | None = None  # None: it is from no file

    @property
    def line(self) -> int | None:
        """The line at which the file states it."""
        return None if self.origin is None else self.origin.line


@dataclass(frozen=True, slots=True)
class Graph:
    """A directed acyclic graph of operators, in the file's order, with unique names."""

    name: str
    mode: Mode
    microbatches: int
    operators: tuple[Operator, ...]
    sha256: str = ""
    path: str = ""
    index: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the names; the readers report bad names with file and line before this point."""
        index = {operator.name: i for i, operator in enumerate(self.operators)}
        if len(index) != len(self.operators):
            raise ValueError("operator names must be unique")
        for operator in self.operators:
            for name in operator.inputs:
                if name not in index:
                    raise ValueError(f"operator {operator.name!r} reads unknown operator {name!r}")
        object.__setattr__(self, "index", index)

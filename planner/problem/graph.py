"""The operator graph: what one microbatch computes, operator by operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from planner.problem.made_from import MadeFrom


class Pass(StrEnum):
    """A pass of an operator: F, I and W over a microbatch; R, U and G once a step and copy."""

    F = "F"  # forward
    I = "I"  # gradient of the input
    W = "W"  # gradient of the weights
    R = "R"  # reduction of the weights' gradients over data-parallel ranks
    U = "U"  # update by the optimizer
    G = "G"  # gathering the updated parameters


PASS_ORDER: tuple[Pass, ...] = (Pass.F, Pass.I, Pass.W)

PASS_KEYS = {Pass.F: "forward", Pass.I: "input_grad", Pass.W: "weight_grad"}
"""What graph.yaml calls them."""

STEP_ORDER: tuple[Pass, ...] = (Pass.R, Pass.U, Pass.G)
"""The step tasks: after all microbatches, in this order."""

STEP_KEYS = {Pass.R: "reduce", Pass.U: "update", Pass.G: "gather"}
"""What graph.yaml calls them."""


class Stream(StrEnum):
    """The stream of its device that an operator occupies."""

    COMPUTE = "compute"
    COMM = "comm"


class Collective(StrEnum):
    """The ranks among which an operator of the comm stream communicates."""

    TENSOR = "tensor"
    CONTEXT = "context"
    EXPERT = "expert"
    WEIGHTS = "weights"  # those that share the weights: ZeRO 3


STEP_STREAMS = {Pass.R: Stream.COMM, Pass.U: Stream.COMPUTE, Pass.G: Stream.COMM}
"""The streams that step tasks occupy, whatever stream their operator occupies."""

BASE = "base"
"""The name of the variant that an operator is as it stands."""


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


class TimesAt(NamedTuple):
    """Where a file gives a time by device: of a pass as it stands, of a variant, or of a step task."""

    pass_: Pass
    cost: ByDevice
    spot: Spot
    names: Mapping[str, Spot]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a file states an operator, and where the names of devices that it gives stand."""

    line: int
    devices: Mapping[str, Spot]
    times: tuple[TimesAt, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """An alternative of an operator: another way to compute the same, with times and sizes of its own.

    A plan picks one for each copy, for all microbatches. All figures are filled in: what a file leaves out is the
    operator's own. They mean what those of ``Operator`` mean.
    """

    name: str
    times: Mapping[Pass, PassTime]
    parameters: float
    activation: float
    held_for_weight_grad: float


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of the expanded graph (blocks are unrolled: ``layer.3.attn``).

    ``times`` holds the passes that exist, F first; in training F and I always do.
    Sizes are bytes and are those of rule 5 of the plan's semantics: ``parameters`` once a device,
    ``activation`` a microbatch from the start of F to the end of I, ``held_for_weight_grad`` from then to
    the end of W, ``output`` what a consumer on another device receives.

    ``variants`` are alternatives to the operator as it stands, which is called ``base``. ``step``: the times of the
    step tasks that exist (R, U, G; training only). ``gradient``: bytes that copies on different devices exchange
    before R. ``collective``: what an operator of the comm stream is, where that is known; runtimes overlap some kinds.
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
    variants: tuple[Variant, ...] = ()
    step: Mapping[Pass, PassTime] = field(default_factory=dict)
    gradient: float = 0.0
    collective: Collective | None = None

    @property
    def versions(self) -> tuple[str, ...]:
        """The names of what the operator may be: ``base``, then its variants."""
        return (BASE, *(variant.name for variant in self.variants))

    def version(self, number: int) -> Operator:
        """The operator as its variant of that number (0: base), without alternatives."""
        if number == 0:
            return replace(self, variants=()) if self.variants else self
        own = self.variants[number - 1]
        return replace(
            self,
            times=own.times,
            parameters=own.parameters,
            activation=own.activation,
            held_for_weight_grad=own.held_for_weight_grad,
            variants=(),
        )

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
    clip_gradients: bool = False  # no update before every reduction (the global norm)
    made_from: MadeFrom | None = None  # None: nobody has said
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

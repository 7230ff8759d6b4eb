"""What a plan says of its files: names, hashes, what the graph was made from, and the step in tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict  # pydantic wants its own TypedDict below Python 3.12

from planner.plan.plan import Source, Throughput
from planner.problem.made_from import MadeFrom
from planner.problem.quantities import LARGEST

Count = Annotated[int, Field(ge=0, le=1_000_000)]
Degree = Annotated[int, Field(ge=1, le=1_000_000)]
Amount = Annotated[float, Field(ge=0, le=LARGEST)]


class SourceRow(TypedDict):
    """The file that the plan was made from."""

    name: str
    sha256: Annotated[str, Field(description="of the bytes")]


class OriginRow(TypedDict):
    """What the graph was made from, as ``origin`` of graph.yaml has it; what is left out is as by default."""

    model: str
    family: NotRequired[str]
    rules: NotRequired[str]
    layers: NotRequired[Count]
    experts: NotRequired[Count]
    mtp: NotRequired[Count]
    sequence: NotRequired[Annotated[int, Field(ge=1, le=10**9, description="tokens")]]
    micro_batch: NotRequired[Annotated[Degree, Field(description="sequences, on one replica")]]
    tensor: NotRequired[Degree]
    context: NotRequired[Degree]
    expert: NotRequired[Degree]
    data: NotRequired[Degree]
    pipeline: NotRequired[Degree]
    precision: NotRequired[str]
    optimizer: NotRequired[str]
    zero: NotRequired[Annotated[int, Field(ge=0, le=3)]]
    recompute: NotRequired[str]
    cut: NotRequired[Literal["operator", "part", "layer"]]
    tied: NotRequired[bool]
    flops_per_token: NotRequired[Amount]


class GraphRow(SourceRow):
    """The graph that the plan was made from."""

    mode: NotRequired[Literal["training", "inference"] | None]
    origin: NotRequired[OriginRow | None]


class ThroughputRow(TypedDict):
    """The step in tokens, over all GPUs for which the devices of the cluster stand."""

    gpus: Annotated[int, Field(ge=1)]
    sequences: Annotated[int, Field(ge=1, description="of a step: the global batch")]
    tokens: Annotated[int, Field(ge=1, description="of a step")]
    tokens_per_second: Annotated[float, Field(gt=0)]
    tokens_per_second_per_gpu: Annotated[float, Field(gt=0)]
    peak_flops: NotRequired[Annotated[float | None, Field(description="of all GPUs together, FLOP/s")]]
    mfu: NotRequired[Annotated[float | None, Field(description="model FLOP utilization, arXiv 2204.02311 appendix B")]]


def graph_source(row: Mapping[str, Any]) -> Source:
    """The graph of a checked row."""
    origin = row.get("origin")
    if origin is None:
        return Source(row["name"], row["sha256"])
    return Source(row["name"], row["sha256"], row.get("mode"), MadeFrom(**origin))


def throughput(row: Mapping[str, Any] | None) -> Throughput | None:
    """The throughput of a checked row."""
    return None if row is None else Throughput(**row)

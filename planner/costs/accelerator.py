"""An accelerator as the cost model sees it: its curves, read from a calibration file, shipped or the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from planner.costs.curves import AttentionCurve, GemmCurve, LinkCurve
from planner.files.errors import did_you_mean, listed
from planner.files.shapes import (
    Entry,
    Field,
    ListOf,
    MapOf,
    Name,
    Quantity,
    Record,
    Schema,
    SchemaName,
    Whole,
    json_schema,
    read_root,
)
from planner.files.yaml_source import read_source
from planner.problem.cluster import DeviceType, NetworkLevel
from planner.problem.quantities import BYTES, BYTES_PER_SECOND, FLOP_PER_SECOND, FRACTION, SECONDS

DATA = Path(__file__).parent / "data"

TYPES = ("bf16", "fp8", "fp8_block", "nvfp4", "fp32")
"""Types of matrix products. fp8: one scale a tensor; fp8_block: one for each block of 128 (DeepSeek-V3)."""

ELEMENT = {"bf16": 2.0, "fp8": 1.0, "fp8_block": 1.0, "nvfp4": 0.5625, "fp32": 4.0}
"""Bytes of an element; NVFP4 has a byte of scale for each 16 elements."""

LINKS = ("all_gather", "reduce_scatter", "all_reduce", "all_to_all", "send")

ROOFLINE_BANDWIDTH = 0.8
"""Share of a data sheet's bandwidth, of memory or link, that kernels reach where nothing was measured.

GEMMs that memory limits reach 0.78 (A100), 0.85 (H100) and 0.83 (GB200) of it: docs/costs.md.
"""

ROOFLINE_LAUNCH = 5e-6
"""Seconds of a kernel that does next to nothing, where nothing was measured: twice that of A100 and H100."""

FP32_SHARE = 1 / 16
"""Rate of FP32 without tensor cores as a share of BF16: 19.5 of 312 TFLOP/s (A100), 67 of 989 (H100), data sheets."""


@dataclass(frozen=True)
class Accelerator:
    """Curves of one type of accelerator. Rates are those reached, in FLOP/s and bytes/s; times are seconds."""

    name: str
    units: float  # multiprocessors
    memory_bandwidth: float  # bytes/s that a kernel without reuse reaches
    launch: float  # seconds of a kernel that does next to nothing
    gemm: Mapping[str, GemmCurve]  # by type
    attention: Mapping[str, AttentionCurve] = field(default_factory=dict)  # by type
    links: Mapping[str, LinkCurve] = field(default_factory=dict)  # by operation
    grouped: float = 1.0  # rate of a grouped GEMM as a share of that of a single one
    derate: float = 1.0  # share of the measured rates of GEMMs and attention that a training step reaches
    sources: tuple[str, ...] = ()

    @staticmethod
    def roofline(device: DeviceType, within_node: NetworkLevel | None = None) -> Accelerator:
        """A roofline for a type without calibration: ``peak_flops`` times its efficiency, 0.8 of the bandwidths.

        FP8 runs at the rate of BF16, FP32 at a sixteenth. Without ``within_node`` it has no links.
        Raises ``ValueError`` where the type has no ``peak_flops`` or no ``memory_bandwidth``.
        """
        for key in ("peak_flops", "memory_bandwidth"):
            if getattr(device, key) is None:
                raise ValueError(f"device type {device.name} has no {key}: a roofline needs it")
        assert device.peak_flops is not None and device.memory_bandwidth is not None
        peak, bandwidth = device.peak_flops * device.efficiency, device.memory_bandwidth * ROOFLINE_BANDWIDTH
        launch = ROOFLINE_LAUNCH
        gemm = {
            name: GemmCurve(ELEMENT[name], launch, peak * (FP32_SHARE if name == "fp32" else 1), bandwidth, tiled=False)
            for name in ("bf16", "fp8", "fp32")
        }
        attention = AttentionCurve(ELEMENT["bf16"], launch, peak, bandwidth, longest=0.0)
        links = {}
        if within_node is not None and within_node.bandwidth is not None:
            latency = max(within_node.latency, launch)
            link = LinkCurve(latency, within_node.latency, 0.0, within_node.bandwidth * ROOFLINE_BANDWIDTH)
            links = dict.fromkeys(LINKS, link)
        return Accelerator(device.name, 1.0, bandwidth, launch, gemm, {"bf16": attention}, links)


_SHARE = Quantity(FRACTION, most=1.0)
_SHARE_ABOVE_0 = Quantity(FRACTION, positive=True, most=1.0)
_NUMBER = Quantity(FRACTION, most=1e6)
_POSITIVE = Quantity(FRACTION, positive=True, most=1e6)
_TIME = Quantity(SECONDS)
_RATE = Quantity(FLOP_PER_SECOND, positive=True)
_BANDWIDTH = Quantity(BYTES_PER_SECOND, positive=True)

GEMM = Record(
    "gemm curve",
    "Time of matrix products of one type; docs/costs.md has the formula.",
    {
        "element": Field(Quantity(BYTES, positive=True), "Bytes of an element of the operands.", required=True),
        "launch": Field(_TIME, "Seconds before and after the work.", required=True),
        "peak": Field(_RATE, "FLOP/s reached as the product grows.", required=True),
        "bandwidth": Field(_BANDWIDTH, "Bytes per second reached.", required=True),
        "tile": Field(_NUMBER, "Elements of border that slow a tile down."),
        "depth": Field(_NUMBER, "Elements of k that the start and end of a tile take as long as."),
        "waves": Field(_SHARE, "How far a wave that is not full takes as long as a full one."),
        "split": Field(_NUMBER, "Times that the parts of a split k are moved."),
        "sharpness": Field(Quantity(FRACTION, positive=True, most=100), "Exponent that joins compute and memory time."),
        "cast": Field(_TIME, "Seconds an element of the left operand takes to be converted."),
    },
)

ATTENTION = Record(
    "attention curve",
    "Time of flash attention of one type; docs/costs.md has the formula.",
    {
        "element": Field(Quantity(BYTES, positive=True), "Bytes of an element of q, k, v and o.", required=True),
        "launch": Field(_TIME, "Seconds before and after the work.", required=True),
        "peak": Field(_RATE, "FLOP/s of the products, exponentials apart.", required=True),
        "bandwidth": Field(_BANDWIDTH, "Bytes per second reached.", required=True),
        "softmax": Field(_NUMBER, "Elements of q and v that a score takes as long as."),
        "depth": Field(_NUMBER, "Keys that the start and end of a tile take as long as."),
        "longest": Field(_NUMBER, "Share of the longest tile that is not hidden."),
        "passes": Field(_NUMBER, "Times that q, k, v and o are moved."),
        "backward": Field(_SHARE_ABOVE_0, "Rate of backward as a share of that of forward."),
    },
)

LINK = Record(
    "link curve",
    "Time of one collective inside a node; docs/costs.md has the formula.",
    {
        "latency": Field(_TIME, "Seconds of the smallest one.", required=True),
        "per_rank": Field(_TIME, "Seconds for each rank but the first."),
        "ramp": Field(_TIME, "Seconds that each chunk takes more."),
        "bandwidth": Field(_BANDWIDTH, "Bytes per second that a rank sends, between two ranks.", required=True),
        "scale": Field(_POSITIVE, "Of the bandwidth, with each doubling of the ranks."),
        "ranks": Field(_POSITIVE, "The largest number of ranks measured."),
    },
)

ERRORS = Record(
    "errors",
    "What the curve is off by on kernels that it was not fitted to; planner does not use it.",
    {
        "median": Field(_NUMBER, "Median of the relative error."),
        "p90": Field(_NUMBER, "90th percentile."),
        "kernels": Field(Whole(0, 10**9), "How many."),
    },
)

ACCELERATOR = Record(
    "accelerator",
    "A calibration: curves of kernels and collectives of one type of accelerator.",
    {
        "schema": Field(SchemaName("accelerator"), "The format of this file.", required=True),
        "name": Field(Name(), "Default: the file's name without its ending."),
        "sources": Field(ListOf(Name(), "sources"), "Where the measured times are from, with their licence."),
        "made": Field(Name(), "Date of the calibration."),
        "units": Field(Whole(1, 100_000), "Multiprocessors.", required=True),
        "memory_bandwidth": Field(_BANDWIDTH, "Bytes per second that kernels without reuse reach.", required=True),
        "launch": Field(_TIME, "Seconds of a kernel that does next to nothing.", required=True),
        "grouped": Field(_SHARE_ABOVE_0, "Rate of a grouped GEMM as a share of that of a single one. Default 1."),
        "derate": Field(_SHARE_ABOVE_0, "Share of the measured rates that a training step reaches. Default 1."),
        "gemm": Field(MapOf(GEMM, "types", least=1), "By type: bf16, fp8, ...", required=True),
        "attention": Field(MapOf(ATTENTION, "types"), "By type."),
        "links": Field(MapOf(LINK, "operations"), "By operation; send is one from GPU to GPU."),
        "errors": Field(MapOf(ERRORS, "curves"), "Held-out errors by curve."),
    },
)


def accelerator(name: str) -> Accelerator:
    """A shipped calibration, such as ``h100``; raises ``ValueError`` with the known names for others."""
    if name not in known():
        raise ValueError(f"no calibration is called {name!r}: {did_you_mean(name, known())} ({listed(known())})")
    return _shipped(name)


@lru_cache(maxsize=64)
def _shipped(name: str) -> Accelerator:
    return read_accelerator(DATA / f"{name}.yaml")


@lru_cache(maxsize=1)
def known() -> tuple[str, ...]:
    """Names of the calibrations that come with planner."""
    return tuple(sorted(path.stem for path in DATA.glob("*.yaml")))


def read_accelerator(path: Path) -> Accelerator:
    """Read a ``planner/accelerator@1`` file. Raises ``InputError`` with file, line and field for whatever is wrong."""
    source = read_source(path)
    root = read_root(ACCELERATOR, source.root, source.path)
    for key, names in (("gemm", TYPES), ("attention", TYPES), ("links", LINKS)):
        for name in root.get(key, {}):
            if name not in names:
                root.at(key).key(root.data[key], name).fail(f"is not known here: {did_you_mean(name, names)}")
    return Accelerator(
        name=root.get("name", source.default_name),
        units=float(root.values["units"]),
        memory_bandwidth=root.values["memory_bandwidth"],
        launch=root.values["launch"],
        gemm={name: GemmCurve(**_given(GemmCurve, entry)) for name, entry in root.values["gemm"].items()},
        attention={n: AttentionCurve(**_given(AttentionCurve, e)) for n, e in root.get("attention", {}).items()},
        links={name: LinkCurve(**_given(LinkCurve, entry)) for name, entry in root.get("links", {}).items()},
        grouped=root.get("grouped", 1.0),
        derate=root.get("derate", 1.0),
        sources=tuple(root.get("sources", [])),
    )


def accelerator_schema() -> Schema:
    """The JSON Schema of a calibration file."""
    return json_schema(ACCELERATOR, "planner accelerator", "planner/accelerator@1")


def _given(curve: type, entry: Entry) -> dict[str, Any]:
    return {each.name: entry.values[each.name] for each in fields(curve) if each.name in entry.values}

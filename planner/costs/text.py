"""A calibration as the text of a file that ``read_accelerator`` reads to the same accelerator."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import Any

from planner.costs.accelerator import Accelerator
from planner.costs.fitting import Errors

_UNITS: Mapping[str, tuple[tuple[float, str], ...]] = {
    "seconds": ((1e-6, "us"), (1e-9, "ns"), (1.0, "s")),
    "bytes/s": ((1e12, "TB/s"), (1e9, "GB/s")),
    "FLOP/s": ((1e15, "PFLOPS"), (1e12, "TFLOPS")),
}
_KIND = {
    **dict.fromkeys(("launch", "latency", "per_rank", "ramp", "cast"), "seconds"),
    **dict.fromkeys(("bandwidth", "memory_bandwidth"), "bytes/s"),
    "peak": "FLOP/s",
}
_NOT_IN_FILES = ("tiled",)


def accelerator_text(
    acc: Accelerator, errors: Mapping[str, Errors], sources: Sequence[str], made: str, command: Sequence[str]
) -> str:
    """The text of a ``planner/accelerator@1`` file."""
    lines = [f"# A calibration: time of kernels and collectives on {acc.name}. Keys and formulas: docs/costs.md."]
    lines += [f"# {line}" for line in wrap(f"Made by: {shlex.join(command)}", 116, break_on_hyphens=False)]
    lines += ["schema: planner/accelerator@1", f"name: {json.dumps(acc.name)}"]
    if sources:
        lines += ["sources:", *(f"  - {json.dumps(source)}" for source in sources)]
    lines += [f"made: {json.dumps(made)}"]
    lines += ["", f"units: {acc.units:g}"]
    lines += [f"{key}: {_written(key, getattr(acc, key))}" for key in ("memory_bandwidth", "launch")]
    lines += [f"grouped: {acc.grouped:g}", f"derate: {acc.derate:g}"]
    for title, curves in (("gemm", acc.gemm), ("attention", acc.attention), ("links", acc.links)):
        if curves:
            lines += ["", f"{title}:", *(f"  {name}: {_flow(asdict(curve))}" for name, curve in curves.items())]
    if errors:
        lines += ["", "errors:  # relative, on a fifth of the kernels that was not fitted to"]
        for name, each in errors.items():
            median, p90 = f"{each.median:.3f}", f"{each.p90:.3f}"
            lines.append(f"  {name}: {{median: {median}, p90: {p90}, kernels: {each.kernels}}}")
    return "\n".join(lines) + "\n"


def _flow(values: Mapping[str, Any]) -> str:
    """``{launch: 2.6 us, peak: 806 TFLOPS}``, without keys that files do not have."""
    return "{" + ", ".join(f"{k}: {_written(k, v)}" for k, v in values.items() if k not in _NOT_IN_FILES) + "}"


def _written(key: str, value: float) -> str:
    """Four digits in a readable unit: a fit has no more to say."""
    units = _UNITS.get(_KIND.get(key, ""), ())
    for size, unit in units:
        if 0.1 <= value / size < 10_000:
            return f"{value / size:.4g} {unit}"
    return f"{value:.4g}"

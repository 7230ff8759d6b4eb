"""Tables of measured kernels as CSV: GEMMs, attention, collectives, sends. Errors name file, line and column."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from planner.costs.curves import Values
from planner.files.errors import InputError, did_you_mean, listed, shown
from planner.files.reading import decoded, read_bytes

MAX_BYTES = 256 * 1024**2

TYPES = {
    "bfloat16": "bf16",
    "bf16": "bf16",
    "float16": "bf16",
    "half": "bf16",
    "fp8": "fp8",
    "fp8_block": "fp8_block",
    "nvfp4": "nvfp4",
}
"""Types of the tables, by the names of planner; FP16 runs at the rate of BF16."""

BYTES_OF = {"half": 2, "float16": 2, "bfloat16": 2, "float": 4, "float32": 4, "int8": 1, "uint8": 1}
"""Bytes of an element of a collective."""

OPERATIONS = {"all_gather": "all_gather", "all_reduce": "all_reduce", "reduce_scatter": "reduce_scatter"} | {
    "alltoall": "all_to_all",
    "all_to_all": "all_to_all",
}

GEMM = ("gpu", "dtype", "m", "n", "k", "ms")
ATTENTION = ("gpu", "dtype", "batch", "seq", "heads", "kv_heads", "head_dim", "ms")
NCCL = ("gpu", "op", "dtype", "num_gpus", "elements", "ms")
SEND = ("size", "devices_per_node", "time_stats.send_recv.median")


@dataclass(frozen=True)
class Table:
    """Measured times in seconds, and the numbers that each was measured for, by column."""

    columns: Mapping[str, Values]
    seconds: Values

    @property
    def keys(self) -> list[tuple[float, ...]]:
        """What identifies each row: all its numbers but the time."""
        return list(zip(*(column.tolist() for column in self.columns.values()), strict=True))


def gemms(path: Path, gpu: str) -> Mapping[str, Table]:
    """GEMMs of a GPU by type: m, n, k."""
    return _by(path, GEMM, gpu, "dtype", TYPES, ("m", "n", "k"))


def attentions(path: Path, gpu: str) -> Mapping[str, Table]:
    """Causal attention, forward, of a GPU by type."""
    return _by(path, ATTENTION, gpu, "dtype", TYPES, ("batch", "seq", "heads", "kv_heads", "head_dim"))


def collectives(path: Path, gpu: str) -> Mapping[str, Table]:
    """Collectives in a node by operation: bytes of the whole buffer, ranks."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for line, row in _of_gpu(path, NCCL, gpu):
        op, size = OPERATIONS.get(row["op"]), BYTES_OF.get(row["dtype"])
        if op is None:
            raise InputError(path, line, "op", f"is {shown(row['op'])}: {did_you_mean(row['op'], OPERATIONS)}")
        if size is None:
            raise InputError(path, line, "dtype", f"is {shown(row['dtype'])}: {did_you_mean(row['dtype'], BYTES_OF)}")
        number, ranks = _number(path, line, row, "elements"), _number(path, line, row, "num_gpus")
        if ranks < 2:
            raise InputError(path, line, "num_gpus", f"must be 2 or more (got {shown(row['num_gpus'])})")
        found.setdefault(op, []).append((number * size, ranks, _number(path, line, row, "ms") / 1e3))
    return {op: _table(("bytes", "ranks"), rows) for op, rows in found.items()}


def sends(path: Path) -> Table:
    """Sends between two GPUs of a node by bytes, as microsoft/vidur has them (time_stats.send_recv.median, in ms)."""
    rows = []
    for line, row in _rows(path, SEND):
        if _number(path, line, row, "devices_per_node") >= 2:
            seconds = _number(path, line, row, "time_stats.send_recv.median") / 1e3
            rows.append((_number(path, line, row, "size"), seconds))
    if not rows:
        raise InputError(path, None, None, "has no send inside a node: none with 2 or more devices_per_node")
    return _table(("bytes",), rows)


def _by(
    path: Path, columns: tuple[str, ...], gpu: str, by: str, names: Mapping[str, str], numbers: tuple[str, ...]
) -> Mapping[str, Table]:
    found: dict[str, list[tuple[float, ...]]] = {}
    for line, row in _of_gpu(path, columns, gpu):
        name = names.get(row[by])
        if name is None:
            raise InputError(path, line, by, f"is {shown(row[by])}: {did_you_mean(row[by], names)}")
        each = tuple(_number(path, line, row, column) for column in numbers)
        found.setdefault(name, []).append((*each, _number(path, line, row, "ms") / 1e3))
    return {name: _table(numbers, rows) for name, rows in found.items()}


def _table(names: tuple[str, ...], rows: Sequence[tuple[float, ...]]) -> Table:
    columns = np.array(rows, dtype=np.float64).T
    return Table(dict(zip(names, columns[:-1], strict=True)), columns[-1])


def _of_gpu(path: Path, columns: tuple[str, ...], gpu: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    others: set[str] = set()
    found = False
    for line, row in _rows(path, columns):
        if row["gpu"] == gpu:
            found = True
            yield line, row
        else:
            others.add(row["gpu"])
    if not found:
        there = listed(sorted(others), 12) if others else "none"
        raise InputError(path, None, "gpu", f"no row is of {shown(gpu)}: the file has {there}")


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Lines of a CSV file with a header, each with its number."""
    text = decoded(read_bytes(path, MAX_BYTES), path)
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing:
        raise InputError(path, 1, missing[0], f"is missing: the columns needed are {', '.join(columns)}")
    try:
        for row in reader:
            if any(row[column] is None for column in columns):
                raise InputError(path, reader.line_num, None, "has fewer columns than the header")
            yield reader.line_num, row
    except csv.Error as error:
        raise InputError(path, reader.line_num, None, f"is no CSV: {error}") from None


def _number(path: Path, line: int, row: Mapping[str, str], column: str) -> float:
    """A finite number above 0."""
    try:
        value = float(row[column])
    except ValueError:
        value = float("nan")
    if not 0 < value < 1e18:
        raise InputError(path, line, column, f"must be a number above 0 (got {shown(row[column])})")
    return value

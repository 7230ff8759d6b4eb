"""The calls of a row by kind: thousands of calls, but only a few that differ in more than their microbatches."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from planner.baselines.call import Call, Row

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CallKind:
    """All calls of a row that are alike but for their microbatches.

    In ``call`` the microbatch of a part is the number of the part, so that its tasks are those of every call of
    the kind once ``microbatches[part]`` stands in its place.
    """

    call: Call
    places: Ints  # in the row
    microbatches: Ints  # (parts, calls)


def by_kind(row: Row) -> list[CallKind]:
    """The kinds of the calls of a row; every call has one part or two."""
    if not row:
        return []
    kind, stage, copy, microbatch = zip(*chain.from_iterable(call.parts for call in row), strict=True)
    letter = np.frombuffer("".join(kind).encode(), dtype=np.uint8).astype(np.int64)
    code = (letter * (max(stage) + 1) + np.array(stage)) * (max(copy) + 1) + np.array(copy)
    parts = np.array([len(call.parts) for call in row])
    first = np.cumsum(parts) - parts
    second = np.where(parts == 2, code[first + parts - 1] + 1, 0)
    _, example, which = np.unique(code[first] * (code.max() + 2) + second, return_index=True, return_inverse=True)
    number = np.array(microbatch, dtype=np.int64)
    found = []
    for k, at in enumerate(example.tolist()):
        places = np.flatnonzero(which == k)
        named = tuple(part._replace(microbatch=j) for j, part in enumerate(row[at].parts))
        found.append(CallKind(Call(named), places, np.array([number[first[places] + j] for j in range(len(named))])))
    return found

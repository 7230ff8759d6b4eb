"""The shapes of the compact form of tasks and transfers in ``plan.json``; ``planner/plan/compact.py`` expands it."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict  # pydantic wants its own below Python 3.12

Index = Annotated[int, Field(ge=-(2**31), lt=2**31)]  # what is not from 0 on is for planner verify to say
Seconds = Annotated[float, Field(description="seconds")]
Rounding = list[Annotated[int, Field(ge=-(2**63), lt=2**63)]]

_MICROBATCHES = Field(description="of the rows that are in no progression")
_STARTS = Field(description="of these rows, in seconds")
_END_ROUNDING = Field(
    description="by how many floating-point numbers the end of each row comes after start + seconds, those of "
    "microbatches first, then progression by progression; left out: 0"
)
_OPERATOR = Field(description="the producer, for the gradient (pass I) too")


class ProgressionRow(TypedDict):
    """Rows of one class at one distance: its steady state.

    For i from 0 to ``times`` microbatch ``microbatch + i x microbatches`` starts at ``start + i x length``, to the last
    bit at the double-precision number that comes ``rounding[0] + ... + rounding[i - 1]`` places after that.
    """

    microbatch: Index
    start: Seconds
    times: Annotated[int, Field(ge=1, description="how often the first row is repeated")]
    microbatches: Annotated[Index, Field(description="from one repetition to the next")]
    length: Annotated[float, Field(description="seconds from one repetition to the next")]
    rounding: NotRequired[
        Annotated[
            list[Index],
            Field(
                description="one number for each repetition: how much further its start is from the one computed, in "
                "floating-point numbers, than the start before it; left out: all 0"
            ),
        ]
    ]


TaskClass = TypedDict(
    "TaskClass",
    {
        "operator": str,
        "pass": Literal["F", "I", "W"],
        "copy": Index,
        "device": str,
        "stream": Literal["compute", "comm"],
        "seconds": Annotated[float, Field(description="the end of a row is its start + seconds")],
        "microbatches": Annotated[list[Index], _MICROBATCHES],
        "starts": Annotated[list[float], _STARTS],
        "repeated": NotRequired[list[ProgressionRow]],
        "end_rounding": NotRequired[Annotated[Rounding, _END_ROUNDING]],
    },
)
TransferClass = TypedDict(
    "TransferClass",
    {
        "operator": Annotated[str, _OPERATOR],
        "pass": Literal["F", "I"],
        "copy": Index,
        "from": str,
        "to": str,
        "seconds": Annotated[float, Field(description="the end of a row is its start + seconds")],
        "microbatches": Annotated[list[Index], _MICROBATCHES],
        "starts": Annotated[list[float], _STARTS],
        "repeated": NotRequired[list[ProgressionRow]],
        "end_rounding": NotRequired[Annotated[Rounding, _END_ROUNDING]],
    },
)

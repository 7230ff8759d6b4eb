"""What is predicted of a strategy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """``seconds`` of one optimizer step, ``bytes`` of the fullest rank, whether that fits; or the reason why not."""

    seconds: float | None
    bytes: float | None
    fits: bool | None
    reason: str = ""

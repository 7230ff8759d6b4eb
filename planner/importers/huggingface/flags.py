"""Flags of ``planner import hf``."""

from __future__ import annotations

from dataclasses import dataclass

from planner.importers.transformer.setting import Setting


@dataclass(frozen=True)
class HfFlags:
    """The flags as given; None where a default depends on the model or on other flags."""

    setting: Setting
    tokens: int | None = None
    decoder_tokens: int | None = None
    data: int | None = None
    images: int | None = None
    family: str | None = None
    name: str | None = None
    calibration: str | None = None  # as given: the setting has its pricing
    gpus_per_node: int = 8

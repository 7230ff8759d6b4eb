"""Which device runs which operator, copy by copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

PlacementKey = tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]
"""Devices and variants, by copy and operator."""


@dataclass(frozen=True, slots=True)
class Placement:
    """``device_of[k][i]`` is the index of the device that runs copy ``k`` of operator ``i``.

    ``variant_of[k][i]`` is the number of the variant of that copy (0: base); empty where every operator is in the
    first version that the problem allows. ``origin`` says in a few words how it was found (``linear``,
    ``bidirectional``, ``assignment MIP``).
    """

    device_of: tuple[tuple[int, ...], ...]
    origin: str = ""
    variant_of: tuple[tuple[int, ...], ...] = ()

    @property
    def key(self) -> PlacementKey:
        """What tells placements apart."""
        return self.device_of, self.variant_of

    def marked(self, mark: str) -> Placement:
        """The placement with a mark at the end of its origin, once."""
        parts = self.origin.split(", ")
        return self if mark in parts else replace(self, origin=f"{self.origin}, {mark}")

    @property
    def copies(self) -> int:
        """The number of copies that every operator has."""
        return len(self.device_of)

    def stage_rounds(self, order: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """``[k][i]``: the virtual-stage round of operator i, copy k: earlier visits of ``order`` to its device."""
        stage_rounds: list[tuple[int, ...]] = []
        for device_of in self.device_of:
            comes = dict.fromkeys(device_of, -1)
            of, before = [0] * len(device_of), -1
            for i in order:
                here = device_of[i]
                comes[here] += here != before
                of[i], before = comes[here], here
            stage_rounds.append(tuple(of))
        return tuple(stage_rounds)

    @staticmethod
    def single(device_of: Sequence[int], origin: str = "") -> Placement:
        """A placement of one copy."""
        return Placement((tuple(device_of),), origin)

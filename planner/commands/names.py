"""Names of baselines on the command line."""

from __future__ import annotations

from planner.baselines import BASELINES
from planner.files.errors import listed, shown
from planner.files.flag_values import UsageFault


def known_baseline(name: str, what: str) -> None:
    """Raise ``UsageFault`` for a name that no baseline has; ``what`` is the option that takes it."""
    if name not in BASELINES:
        raise UsageFault(f"{what}: unknown baseline {shown(name)}; known are {listed(BASELINES, most=40)}")


def baselines_named(text: str) -> set[str] | None:
    """The baselines that a value of ``--baselines`` names: ``A,B`` or none; None for all."""
    if text == "all":
        return None
    names = set() if text in ("none", "") else {name.strip() for name in text.split(",")}
    for name in sorted(names):
        known_baseline(name, "--baselines")
    return names

"""The cases and their goals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
"""Everything measured of one case: plan, baselines, rivals, seconds, memory."""


@dataclass(frozen=True)
class Goal:
    """A goal in words, and whether a row reaches it; None if the row does not tell."""

    text: str
    reached: Callable[[Row], bool | None]


@dataclass(frozen=True)
class Case:
    """A config with flags, a time limit and goals."""

    name: str
    config: str
    flags: tuple[str, ...] = ()
    seconds: float = 60.0
    goals: tuple[Goal, ...] = field(default=())

    @property
    def by_period(self) -> bool:
        """Whether the objective is the period instead of the makespan."""
        return "period" in self.flags


def value_of(row: Row) -> float | None:
    """Makespan or period of the plan, whichever is the objective."""
    found = row.get("plan")
    return None if found is None else found[row["by"]]


def gap_at_most(limit: float) -> Goal:
    """The gap is at most so much."""

    def reached(row: Row) -> bool | None:
        gap = (row.get("plan") or {}).get("gap")
        return None if gap is None else gap <= limit * (1 + 1e-9)

    return Goal(f"gap at most {limit:.0%}", reached)


def at_most(limit: float, words: str) -> Goal:
    """The makespan or period is at most so many seconds."""

    def reached(row: Row) -> bool | None:
        value = value_of(row)
        return None if value is None else value <= limit * (1 + 1e-9)

    return Goal(words, reached)


def bound_at_least(limit: float) -> Goal:
    """The proven bound is at least so many seconds."""

    def reached(row: Row) -> bool | None:
        bound = (row.get("plan") or {}).get("lower_bound")
        return None if bound is None else bound >= limit

    return Goal(f"bound at least {limit:g} s", reached)


def idle_of(row: Row, baseline: str) -> float | None:
    """Idle seconds of the compute streams over those of a baseline."""
    plan = row.get("plan")
    found = [b for b in row.get("baselines") or [] if b["name"] == baseline and b.get("makespan")]
    if plan is None or not found or not found[0]["bubble_ratio"]:
        return None
    return float(plan["makespan"] * plan["bubble_ratio"] / (found[0]["makespan"] * found[0]["bubble_ratio"]))


def idle_at_most(share: float, baseline: str) -> Goal:
    """Idle time is at most this share of a baseline's."""

    def reached(row: Row) -> bool | None:
        idle = idle_of(row, baseline)
        return None if idle is None else idle <= share * (1 + 1e-9)

    return Goal(f"idle time at most {share:g} of {baseline}'s", reached)


def beats_baselines(*names: str) -> Goal:
    """Shorter than each of these baselines, or of all, that fits."""

    def reached(row: Row) -> bool | None:
        fitting = [b for b in row.get("baselines") or [] if b.get("fits") and (not names or b["name"] in names)]
        value = (row.get("plan") or {}).get("makespan")
        return None if value is None or not fitting else all(value < b["makespan"] for b in fitting)

    return Goal(f"shorter than {', '.join(names) or 'every baseline'} where that fits", reached)


def beats_rivals(*splits: str, equal: bool = False) -> Goal:
    """Better than the best baseline's order on each of these splits that fits."""

    def reached(row: Row) -> bool | None:
        fitting = [r for r in row.get("rivals") or [] if r["fits"] and (not splits or r["split"] in splits)]
        value = value_of(row)
        if value is None or not fitting:
            return None
        return all(value <= r[row["by"]] * (1 + 1e-9) if equal else value < r[row["by"]] for r in fitting)

    return Goal(f"{'no worse' if equal else 'better'} than split: {', '.join(splits) or 'any'}", reached)


def within(seconds: float, gigabytes: float | None = None) -> Goal:
    """The whole command takes at most so long, and so much memory."""

    def reached(row: Row) -> bool | None:
        if row.get("plan") is None:
            return None
        return row["wall_seconds"] <= seconds and (gigabytes is None or row["peak_rss"] <= gigabytes * 1e9)

    return Goal(f"done in {seconds:g} s" + ("" if gigabytes is None else f" and {gigabytes:g} GB"), reached)


UNITS, TWO = "deepseek-v3-units", ("--copies", "2")
DUALPIPES_MEMORY = ("--memory-cap", "73357049856")
NO_WORSE = beats_rivals("dynamic program", equal=True)
NAIVE = beats_rivals("even", "by speed")


def cases() -> list[Case]:
    """In the order of the page."""
    idle = idle_at_most(0.55, "dualpipe")
    whole = within(125)
    return [
        Case("deepseek, two copies", UNITS, TWO, 60, (idle, at_most(3.238, "half of DualPipe's idle time: 3.238 s"))),
        *(
            Case(f"deepseek, real bytes{name}", "deepseek-v3-h800", (*TWO, *DUALPIPES_MEMORY, *more), 60, (idle,))
            for name, more in (
                ("", ()),
                (", M = 40", ("--microbatches", "40")),
                (", M = 120", ("--microbatches", "120")),
            )
        ),
        Case("deepseek, one copy", UNITS, (), 60, (bound_at_least(3.088),)),
        Case("deepseek, M = 40", UNITS, (*TWO, "--microbatches", "40"), 60, (idle,)),
        Case("deepseek, M = 120", UNITS, (*TWO, "--microbatches", "120"), 60, (idle,)),
        Case("deepseek, 61 layers", "deepseek-v3-61-layers", (), 120, (beats_baselines(), beats_rivals())),
        Case("multimodal", "multimodal", (), 110, (gap_at_most(0.1), whole, beats_rivals(), beats_baselines())),
        Case("t5-11b, 4", "t5-11b-v100x4", (), 110, (gap_at_most(0.1), whole, beats_rivals(), beats_baselines())),
        Case("t5-11b, 8", "t5-11b-v100x8", (), 110, (gap_at_most(0.1), whole, beats_rivals(), beats_baselines())),
        _placement("msr, bert24", "msr-bert24", 30, 41.7458e-3, 0.01),
        _placement("msr, resnet50", "msr-resnet50", 60, 78.6318e-3, 0.05),
        Case("sailor, llama3-8b", "sailor-llama3-8b", (), 60, (NAIVE, beats_baselines())),
        Case("sailor, opt350", "sailor-opt350", (), 60, (NAIVE, beats_baselines())),
        Case("pipedream, vgg16", "pipedream-vgg16", (), 60, (NO_WORSE,)),
        Case("pipedream, gnmt", "pipedream-gnmt", (), 60, (NO_WORSE,)),
        Case("piper, bert32", "piper-bert32", (), 60, (NO_WORSE,)),
        Case("100,000 tasks", "large-64x4", ("--microbatches", "160"), 170, (beats_baselines("1f1b"), within(180, 4))),
    ]


def _placement(name: str, config: str, seconds: float, limit: float, gap: float) -> Case:
    goals = (at_most(limit, f"period at most {limit * 1e3:.6g} ms"), gap_at_most(gap), within(seconds))
    return Case(name, config, ("--objective", "period"), seconds - 4, goals)

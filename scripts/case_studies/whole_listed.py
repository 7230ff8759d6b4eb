"""The cases of whole steps and of operators with alternatives, and their goals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
"""Everything measured of one case: ``runs`` by choice, ``baselines``, ``plans`` of baselines by name."""

OURS, BASE, BEGUN = "all", "base", "all, begun"
"""The run that may choose, and the one that may not, among the choices of a case; and the run that may choose and
begins with the best plan of one choice."""


@dataclass(frozen=True)
class Choice:
    """One version for all operators that have it, by its name; or, with ``kinds``, one for each kind of operator."""

    name: str
    kinds: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Goal:
    """A goal in words, whether a row reaches it (None: the row does not tell), and the figures behind that."""

    text: str
    reached: Callable[[Row], bool | None]
    figures: Callable[[Row], str] = lambda row: ""


@dataclass(frozen=True)
class Case:
    """A config with flags and a time limit, for each choice; ``step``: with its step tasks."""

    name: str
    config: str
    flags: tuple[str, ...] = ()
    seconds: float = 60.0
    choices: tuple[Choice, ...] = ()
    goals: tuple[Goal, ...] = ()
    step: bool = True
    beside: tuple[str, ...] = ()  # baselines whose plans are kept, too, beside the best that fits
    begun: bool = False  # whether to plan once more from the best plan of one choice on

    @property
    def cap(self) -> float | None:
        """GiB, where the case has a memory cap of its own."""
        given = dict(zip(self.flags, self.flags[1:], strict=False)).get("--memory-cap")
        return None if given is None else float(given.removesuffix("GiB"))


# -- figures of a row ------------------------------------------------------------------------------------------


def plan_of(row: Row, choice: str = OURS) -> Row | None:
    """The figures of the plan of a choice; None if there is none or if it is not valid."""
    run = row.get("runs", {}).get(choice, {})
    found: Row | None = run.get("plan")
    return found if run.get("verified") else None


def makespan_of(row: Row, choice: str = OURS) -> float | None:
    """The makespan of a choice."""
    plan = plan_of(row, choice)
    return None if plan is None else plan["makespan"]


def best_uniform(row: Row) -> tuple[str, float] | None:
    """The uniform choice with the shortest plan."""
    found = {choice: makespan_of(row, choice) for choice in row.get("runs", {}) if choice not in (OURS, BEGUN)}
    planned = [(seconds, choice) for choice, seconds in found.items() if seconds is not None]
    return min(planned)[::-1] if planned else None


def best_baseline(row: Row, *names: str, choice: str | None = None) -> Row | None:
    """The shortest baseline that fits in memory, of these names and this choice (left out: of all)."""
    found = [
        b
        for b in row.get("baselines") or []
        if b["fits"] and (not names or b["name"] in names) and choice in (None, b["choice"])
    ]
    return min(found, key=lambda b: b["makespan"], default=None)


# -- goals -----------------------------------------------------------------------------------------------------


def against_uniform(equal: bool, choice: str = OURS) -> Goal:
    """Shorter than every plan with a uniform choice, or at least as short."""

    def reached(row: Row) -> bool | None:
        ours, other = makespan_of(row, choice), best_uniform(row)
        return None if ours is None or other is None else _below(ours, other[1], equal)

    def figures(row: Row) -> str:
        other = best_uniform(row)
        return "" if other is None else _two(makespan_of(row, choice), f"{other[1]:.5g} s {other[0]}")

    words = f"{'no longer' if equal else 'shorter'} than our plan with any uniform choice"
    return Goal(words + (", begun with it" if choice == BEGUN else ""), reached, figures)


def against_baselines(*names: str) -> Goal:
    """Shorter than every baseline that fits, whatever its uniform choice."""

    def reached(row: Row) -> bool | None:
        ours, other = makespan_of(row), best_baseline(row, *names)
        return None if ours is None or other is None else _below(ours, other["makespan"])

    def figures(row: Row) -> str:
        other = best_baseline(row, *names)
        return "" if other is None else _two(makespan_of(row), told(other))

    what = " and ".join(names) or "every baseline"
    return Goal(f"shorter than {what} with any uniform choice, where that fits", reached, figures)


def below(limit: float) -> Goal:
    """The makespan is below so many seconds."""

    def reached(row: Row) -> bool | None:
        ours = makespan_of(row)
        return None if ours is None else ours < limit

    return Goal(f"below {limit:g} s", reached, lambda row: _two(makespan_of(row)))


def gap_at_most(limit: float) -> Goal:
    """The gap is at most so much."""

    def reached(row: Row) -> bool | None:
        gap = _gap(row)
        return None if gap is None else gap <= limit * (1 + 1e-9)

    return Goal(f"gap at most {limit:.0%}", reached, lambda row: _percent(_gap(row)))


def gap_as_without() -> Goal:
    """The gap is no larger than that of the same graph without variants."""

    def reached(row: Row) -> bool | None:
        gap, without = _gap(row), _gap(row, BASE)
        return None if gap is None or without is None else gap <= without + 1e-9

    return Goal(
        "gap no larger than without variants",
        reached,
        lambda row: f"{_percent(_gap(row))}, without {_percent(_gap(row, BASE))}",
    )


def all_valid() -> Goal:
    """Every plan passes ``planner verify``, that of the best baseline too."""

    def checks(row: Row) -> list[bool | None]:
        return [run.get("verified") for run in [*row.get("runs", {}).values(), *row.get("plans", {}).values()]]

    def reached(row: Row) -> bool | None:
        return None if not checks(row) or None in checks(row) else all(checks(row))

    return Goal("all plans valid", reached, lambda row: f"{sum(c is True for c in checks(row))} of {len(checks(row))}")


def both_with_additions(baseline: str) -> Goal:
    """Both plans end with step tasks, and copies exchange gradients: the baseline has two, ours may have one."""

    def reached(row: Row) -> bool | None:
        ours, theirs = plan_of(row), row.get("plans", {}).get(baseline, {}).get("plan")
        if ours is None or theirs is None:
            return None
        exchanged = theirs["exchanges"] > 0 and (ours["copies"] == 1 or ours["exchanges"] > 0)
        return bool(ours["step_tasks"] and theirs["step_tasks"] and exchanged)

    return Goal(f"step tasks and exchanges of gradients in ours and in {baseline}'s", reached)


def told(baseline: Row) -> str:
    """``9.1 s v-half (recompute)``."""
    choice = "" if baseline["choice"] == BASE else f" ({baseline['choice']})"
    return f"{baseline['makespan']:.5g} s {baseline['name']}{choice}"


def _below(ours: float, other: float, equal: bool = False) -> bool:
    return ours <= other * (1 + 1e-9) if equal else ours < other


def _two(ours: float | None, other: str = "") -> str:
    return "" if ours is None else f"{ours:.5g} s" + (f", {other}" if other else "")


def _gap(row: Row, choice: str = OURS) -> float | None:
    plan = plan_of(row, choice)
    return None if plan is None else plan["gap"]


def _percent(gap: float | None) -> str:
    return "-" if gap is None else f"{gap:.2%}"


# -- cases -----------------------------------------------------------------------------------------------------

MODEL, LAYERS = "deepseek-v3-61-layers-whole", "deepseek-v3-h800-whole"
CAPS = (48, 56, 64, 72)
NAMED = (Choice(BASE), Choice("recompute"), Choice("fused"))
BY_KIND = (
    Choice("attention recompute", {"attention": "recompute"}),
    Choice("experts recompute", {"experts": "recompute", "mlp": "recompute"}),
    Choice("attention recompute, experts fused", {"attention": "recompute", "experts": "fused", "mlp": "fused"}),
)


def frontier(case: Case) -> bool:
    """Whether a case is a point of the frontier of memory and time."""
    return case.cap is not None


def cases() -> list[Case]:
    """In the order of the page."""
    shorter = (against_uniform(equal=False), against_baselines())
    no_worse = against_uniform(equal=True), against_uniform(equal=True, choice=BEGUN)
    llama = tuple(map(Choice, (BASE, "selective", "full")))
    return [
        Case(
            "61 layers, whole step",
            MODEL,
            seconds=120,
            choices=(*NAMED, *BY_KIND),
            goals=(*shorter, gap_at_most(0.2), all_valid()),
        ),
        Case(
            "61 layers, no step tasks",
            MODEL,
            seconds=120,
            choices=(*NAMED, *BY_KIND),
            goals=(below(6.5), *shorter, all_valid()),
            step=False,
        ),
        *(
            Case(
                f"32 layers, {cap} GiB",
                LAYERS,
                ("--memory-cap", f"{cap}GiB"),
                choices=NAMED,
                goals=(*no_worse, against_baselines(), all_valid()),
                begun=True,
            )
            for cap in CAPS
        ),
        *(
            Case(
                f"llama, {tokens} tokens",
                f"llama-3.1-70b-tp8-pp8-{tokens}",
                choices=llama,
                goals=(*no_worse, gap_at_most(0.05), all_valid()),
                begun=True,
            )
            for tokens in (8192, 32768)
        ),
        Case(
            "multimodal",
            "multimodal-choose",
            choices=tuple(map(Choice, (BASE, "recompute", "store"))),
            goals=(gap_as_without(), all_valid()),
        ),
        Case(
            "piper, bert32",
            "piper-bert32-choose",
            choices=tuple(map(Choice, (BASE, "recompute"))),
            goals=(gap_as_without(), all_valid()),
        ),
        Case(
            "32 layers, two copies",
            LAYERS,
            ("--copies", "2"),
            choices=NAMED,
            goals=(
                both_with_additions("dualpipe"),
                against_baselines("dualpipe", "dualpipe-unfused"),
                against_baselines(),
                all_valid(),
            ),
            beside=("dualpipe", "dualpipe-unfused"),
        ),
    ]

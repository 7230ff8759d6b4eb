"""The rules that a valid plan keeps; ``docs/formats.md`` lists them in the same words."""

from __future__ import annotations

from enum import IntEnum


class Rule(IntEnum):
    """A rule by its number. ``meaning`` says in one sentence what it asks of a plan."""

    meaning: str

    PLACEMENT = (
        1,
        "Every operator has every copy on a device that may run it, in a variant that is allowed, operators of one "
        "`colocate` label share a device, and a microbatch uses one copy number throughout.",
    )
    TASKS = (
        2,
        "Every pass of every microbatch runs once, on the device of its copy and the operator's stream, for exactly "
        "its pass time; so does every step task of every copy, on its own stream; and a stream runs one task at a "
        "time.",
    )
    ORDER = (
        3,
        "F starts after the F of every input, I after the operator's own F and the I of every consumer, and W after "
        "the operator's own I; R after the last I and W of its copy, U after R (with `clip_gradients` after every R), "
        "and G after U.",
    )
    TRANSFERS = (
        4,
        "What moves between devices moves once, between the end of its producer and the start of its readers, for "
        "latency + bytes/bandwidth; so do the gradients that copies exchange, between the last I and W of one and the "
        "first step task of the other; and a channel carries one transfer at a time.",
    )
    MEMORY = (5, "No device ever holds more bytes than its cap.")
    FIGURES = (
        6,
        "Makespan, bubbles, peak memory, period and throughput are those that follow from tasks and transfers, the "
        "last one with `origin` of the graph.",
    )
    BOUNDS = (
        7,
        "No bound exceeds what the plan has, gap and status follow from the bounds, and the plan is of these two "
        "files.",
    )
    RUNTIME = (
        8,
        "A plan for a runtime computes nothing beside collectives and transfers that this runtime exposes.",
    )

    def __new__(cls, number: int, meaning: str) -> Rule:
        """A number with a meaning."""
        rule = int.__new__(cls, number)
        rule._value_ = number
        rule.meaning = meaning
        return rule

    @property
    def title(self) -> str:
        """The name in reports and in JSON: ``memory``."""
        return self.name.lower()

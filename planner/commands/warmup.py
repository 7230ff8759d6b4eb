"""``planner warmup``: compiles the search right after installation, so that the first plan does not wait for it."""

from __future__ import annotations

from dataclasses import dataclass

from planner.commands import flags as options
from planner.commands.common import ExitCode, note


@dataclass(frozen=True)
class WarmupFlags:
    """Options of ``planner warmup``."""

    quiet: options.NoNotes = False


def run(flags: WarmupFlags) -> int:
    """Compile what no cache keeps yet."""
    from planner.common import compiled
    from planner.search.compiling import compile_all

    compile_all()
    if compiled.uncached:
        note(compiled.NOT_KEPT, flags.quiet)
    return ExitCode.DONE

"""planner itself: the whole of `planner solve`, start-up included.

The only difference from the command: every improvement is reported at once.
"""

from __future__ import annotations

import functools
import sys

from racing.child import Reporter


def main() -> int:
    """Run `planner solve`; the first argument is the instant of the start."""
    began, *arguments = sys.argv[1:]
    reporter = Reporter(float(began))

    from planner.commands import solve
    from planner.commands.app import main as planner
    from planner.common.budget import Control, Progress

    def listen(progress: Progress) -> None:
        reporter.news(progress.best, progress.bound)

    solve.Control = functools.partial(Control, listener=listen)  # type: ignore[assignment,misc]
    code = planner(["solve", *arguments])
    reporter.news(exit=code)
    return code


if __name__ == "__main__":
    raise SystemExit(main())

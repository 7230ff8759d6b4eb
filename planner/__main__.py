"""The program: ``planner``, and ``python -m planner``. An early Ctrl-C ends it without a traceback."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command (see ``planner.commands.app.main``); 130 if Ctrl-C comes while it is being loaded."""
    try:
        from planner.commands.app import main as run

        return run(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("planner: interrupted\n")
        return 128 + 2


if __name__ == "__main__":
    sys.exit(main())

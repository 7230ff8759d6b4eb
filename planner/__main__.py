"""The program: ``planner``, and ``python -m planner``. An early Ctrl-C ends it without a traceback."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command (see ``planner.commands.app.main``); 130 if Ctrl-C comes while it is being loaded."""
    try:
        from planner.commands.app import main as run

        code = run(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("planner: interrupted\n")
        code = 128 + 2
    if arguments is None and code > 128:
        _leave(code)
    return code


def _leave(code: int) -> NoReturn:
    """End after a signal with this code: the interpreter may end a process that caught SIGINT by SIGINT again."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, AttributeError):  # closed, or none
            continue
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())

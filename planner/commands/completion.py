"""Completion on Tab: ``planner --install-completion [SHELL]`` and ``planner --show-completion [SHELL]``.

typer writes the scripts and answers them. Its own two options take no shell: they find out which one called, and fail
where none did (a container, a script). These take one where it is given.
"""

from __future__ import annotations

import os
from pathlib import PurePath

import typer

FLAGS = ("--install-completion", "--show-completion")
SHELLS = ("bash", "zsh", "fish")
CALLING = "calling"
"""In the place of a shell's name: the one that called."""

ASKED = "_PLANNER_COMPLETE"
"""Set by the scripts where they ask for completions."""


def prepared(arguments: list[str]) -> list[str]:
    """The command line with a value for an option that stands alone; typer is made ready if a script asks."""
    if ASKED in os.environ:
        from typer._completion_classes import completion_init

        completion_init()
    return [*arguments, CALLING] if arguments[-1] in FLAGS and len(arguments) == 1 else arguments


def show(shell: str | None) -> None:
    """Print the script."""
    if shell is not None:
        from typer._completion_shared import get_completion_script

        typer.echo(get_completion_script(prog_name="planner", complete_var=ASKED, shell=_known(shell)))
        raise typer.Exit


def install(shell: str | None) -> None:
    """Write the script where the shell looks for it, and say where that is."""
    if shell is None:
        return
    from typer._completion_shared import install as write

    from planner.files.flag_values import UsageFault

    try:
        name, path = write(_known(shell), "planner", ASKED)
    # ValueError: the start-up file of the shell is not UTF-8. RuntimeError: there is no home.
    except (OSError, ValueError, RuntimeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise UsageFault(f"completion cannot be installed: {reason.lower()}; --show-completion prints it") from error
    typer.echo(f"completion for {name} written to {path}: it works in the next shell")
    raise typer.Exit


def _known(shell: str) -> str:
    from planner.files.errors import listed
    from planner.files.flag_values import UsageFault

    name = _calling() if shell == CALLING else shell
    if name not in SHELLS:
        found = "the shell cannot be told" if name is None else f"no completion for {name!r}"
        raise UsageFault(f"{found}: name one of {listed(SHELLS)}, such as --show-completion bash")
    return name


def _calling() -> str | None:
    """The shell above this process; else the one that the user logs in with."""
    from shellingham import ShellDetectionFailure, detect_shell  # typer brings it

    try:
        return str(detect_shell()[0])
    except (ShellDetectionFailure, OSError):
        login = os.environ.get("SHELL")
        return PurePath(login).name if login else None

"""The one error that a bad input file causes: where it is, what is wrong, what to write instead."""

from __future__ import annotations

from pathlib import Path

from planner.common.messages import did_you_mean, listed, one_line, shortened, shown

__all__ = ["InputError", "did_you_mean", "listed", "one_line", "shortened", "shown"]


class InputError(Exception):
    """A mistake in an input file. ``str()`` is one line: ``graph.yaml:12: operators[3].name: is missing``.

    ``line`` is None for an error of the whole file, ``field`` for one without a field.
    """

    def __init__(self, path: Path | str, line: int | None, field: str | None, message: str) -> None:
        self.path = str(path)
        self.line = line
        self.field = field
        self.message = message
        where = self.path if line is None else f"{self.path}:{line}"
        super().__init__(one_line(": ".join(part for part in (where, field, message) if part)))

    def __reduce__(self) -> tuple[type[InputError], tuple[str, int | None, str | None, str]]:
        """Support pickle, which an exception with its own arguments otherwise does not."""
        return type(self), (self.path, self.line, self.field, self.message)

"""Compiled code: numba, with a cache wherever one can be kept.

A read-only installation without a home that can be written has no place for a cache: then the code is compiled anew in
every process. A cache that is damaged counts as empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

functions: list[Any] = []
"""All compiled functions of the modules that are loaded."""

NOT_KEPT = "no folder for compiled code can be written, so every run compiles anew: set NUMBA_CACHE_DIR to one that can"
"""A note for users."""

uncached: list[str] = []
"""Names of functions that no cache keeps, since there is no place for one."""


class _Cache:
    """numba's cache of a function that survives damage and missing rights."""

    def __init__(self, kept: Any) -> None:
        self.kept = kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self.kept, name)

    def load_overload(self, signature: Any, context: Any) -> Any:
        """The code for a signature; None if there is none, or none that can be read."""
        try:
            return self.kept.load_overload(signature, context)
        except Exception:  # a file was cut off, or is no cache at all: pickle raises whatever it likes
            self._empty()
            return None

    def save_overload(self, signature: Any, code: Any) -> None:
        """Keep the code, if it can be kept."""
        try:
            self.kept.save_overload(signature, code)
        except Exception:  # the index is damaged, the disk is full, or the folder is gone
            self._empty()

    def is_empty(self) -> bool:
        """Whether no code is kept."""
        try:
            return not self.kept._cache_file._load_index()
        except AttributeError:  # there is no place for a cache
            return True
        except Exception:
            self._empty()
            return True

    def _empty(self) -> None:
        try:
            self.kept.flush()
        except OSError:
            return


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: numba's ``njit`` with these options and a cache, if there is a place for one."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            made: Any = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # "cannot cache function": no folder can be written
            made = numba.njit(**options)(function)
            uncached.append(function.__name__)
        if made is not function:  # NUMBA_DISABLE_JIT leaves it to the interpreter
            made._cache = _Cache(made._cache)
            functions.append(made)
        return made

    return decorate


def is_compiled() -> bool:
    """Whether every function that is loaded has machine code, in memory or in its cache."""
    return all(made.signatures or not made._cache.is_empty() for made in functions)

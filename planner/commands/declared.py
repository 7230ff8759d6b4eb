"""Options declared once: a frozen dataclass of a command's options gives typer its signature and plan.json its entries.

A field is ``Annotated[type, typer.Option(...)]`` or ``typer.Argument``, with marks beside it where they apply:
``Recorded`` for what shapes the plan, ``OneOf`` and ``Help`` for values and help that a registry owns.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import MISSING, Field, dataclass, fields
from enum import StrEnum
from typing import Annotated, Any, TypeVar, get_args

import typer
from typer.core import TyperCommand
from typer.main import get_command
from typer.models import ParameterInfo

T = TypeVar("T")

FIRST, LAST = "output", "quiet"
"""Help lists required arguments, then ``FIRST``, all other options, and ``LAST``."""


@dataclass(frozen=True)
class Recorded:
    """Marks an option that shapes the plan: plan.json has it among its ``options``.

    ``read(flag, text)`` converts the text of the option to the recorded value; None is recorded as None or, unless
    ``always``, not at all.
    """

    read: Callable[[str, str], Any] | None = None
    always: bool = True


@dataclass(frozen=True)
class Reads:
    """Says how the text of an option that plan.json does not record is read; see ``Recorded``."""

    read: Callable[[str, str], Any]


@dataclass(frozen=True)
class Joined:
    """Marks an option whose one value is a list itself, joined by commas."""


@dataclass(frozen=True)
class OneOf:
    """Marks a ``str`` option that takes one of ``values()``, computed when the command is called."""

    values: Callable[[], Iterable[str]]


@dataclass(frozen=True)
class Help:
    """Gives an option a help text from a registry, computed when the command is called."""

    text: Callable[[], str]


def flag_of(name: str) -> str:
    """The option of a field: ``--memory-cap`` of ``memory_cap``."""
    return "--" + name.replace("_", "-")


def marked(options: type, kind: type[T]) -> dict[str, T]:
    """The marks of a kind, by field."""
    marks = {field.name: _mark(annotation, kind) for field, annotation in annotations_of(options)}
    return {name: mark for name, mark in marks.items() if mark is not None}


def recorded(options: Any) -> dict[str, Any]:
    """The options that plan.json records, by field, in the order of declaration.

    Raises ``UsageFault`` for a value that cannot be read.
    """
    found: dict[str, Any] = {}
    for name, mark in marked(type(options), Recorded).items():
        value = getattr(options, name)
        value = value if mark.read is None or value is None else mark.read(flag_of(name), value)
        if mark.always or value is not None:
            found[name] = value
    return found


def command(name: str, help: str, run: Callable[..., int], *declared: type) -> TyperCommand:
    """The command that calls ``run`` with an instance of each dataclass, made from the command line.

    Where two dataclasses have a field of one name, the first one declares it for both.
    """
    taken = {parameter.name: parameter for each in reversed(declared) for parameter in _parameters(each)}
    order = dict.fromkeys(field.name for each in declared for field in fields(each))
    parameters = sorted((taken[field] for field in order), key=_place)

    def called(**given: Any) -> int:
        values = {field: _plain(value) for field, value in given.items()}
        return run(*(each(**{field.name: values[field.name] for field in fields(each)}) for each in declared))

    called.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    single.command(name, help=help)(called)
    built = get_command(single)
    assert isinstance(built, TyperCommand)
    return built


def annotations_of(options: type) -> Iterator[tuple[Field[Any], Any]]:
    """Fields with their annotations, marks included."""
    each = (inspect.get_annotations(base, eval_str=True) for base in reversed(options.__mro__))
    hints = {name: hint for base in each for name, hint in base.items()}
    return ((field, hints[field.name]) for field in fields(options))


def _mark(annotation: Any, kind: type[T]) -> T | None:
    return next((mark for mark in get_args(annotation)[1:] if isinstance(mark, kind)), None)


def _parameters(options: type) -> Iterator[inspect.Parameter]:
    """Keyword parameters for typer; an option with ``OneOf`` takes an enum of its current values."""
    for field, annotation in annotations_of(options):
        default, of = field.default, annotation
        said = _mark(annotation, Help)
        if said is not None:
            of = _with_help(annotation, said.text())
        choice = _mark(annotation, OneOf)
        if choice is not None:
            of, default = _as_enum(of, field, list(choice.values()))
        yield inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if default is MISSING else default,
            annotation=of,
        )


def _place(parameter: inspect.Parameter) -> tuple[bool, bool, bool]:
    given = parameter.default is not inspect.Parameter.empty
    return given, given and parameter.name != FIRST, parameter.name == LAST


def _with_help(annotation: Any, text: str) -> Any:
    kind, *marks = get_args(annotation)
    told = [copy(mark) for mark in marks]
    for mark in told:
        if isinstance(mark, ParameterInfo):
            mark.help = text
    return Annotated[(kind, *told)]


class _Chosen(StrEnum):
    """Values of an option with ``OneOf``; its members are made by ``_as_enum``."""


def _as_enum(annotation: Any, field: Field[Any], values: list[str]) -> tuple[Any, Any]:
    members: Any = _Chosen(field.name, [(f"value{k}", value) for k, value in enumerate(values)])  # type: ignore[call-arg]
    default = MISSING if field.default is MISSING else members(field.default)
    return Annotated[(members, *get_args(annotation)[1:])], default


def _plain(value: Any) -> Any:
    """The text of a choice; any other value unchanged."""
    return value.value if isinstance(value, _Chosen) else value

"""A table of strategies: every row predicted by itself, so that a bad one never stops the others."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from planner.baselines import NotApplicable
from planner.common.messages import one_line, shown
from planner.files.errors import InputError
from planner.files.flag_values import UsageFault
from planner.files.reading import decoded, read_bytes
from planner.importers.huggingface.config import read_config
from planner.importers.huggingface.families import read_model
from planner.importers.huggingface.importer import check_model
from planner.importers.transformer.model import Model
from planner.prediction.outcome import Prediction
from planner.prediction.predictor import Predictor
from planner.prediction.strategy import COLUMNS, REQUIRED, BadStrategy, strategy_of
from planner.problem import Impossible, ProblemError
from planner.problem.cluster import Cluster

PREDICTED = ("predicted_s", "predicted_bytes", "fits", "reason")
"""The columns that a prediction adds; a table that has them already has them replaced."""

MAX_BYTES = 64 * 1024**2

RAGGED = "\0ragged"
"""The key under which a row keeps why its line does not have the fields of the header."""

UNNAMED = "\0unnamed"
"""How the keys of columns without a name begin, each with its number: several pass through, too."""

Row = Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """The columns of a CSV file in its order, and its rows."""

    columns: Sequence[str]
    rows: Sequence[Row]


def predictions(
    model: Model, cluster: Cluster, rows: Sequence[Row], calibration: str | None = None
) -> Iterator[Prediction]:
    """The prediction of each row, one after the other; ``reason`` says why a row has no figures."""
    predictor = Predictor(model, cluster, calibration=calibration)
    for row in rows:
        yield _predicted(predictor, row, len(cluster.devices))


def predict_rows(
    model: Model,
    cluster: Cluster,
    rows: Sequence[Row],
    progress: Callable[[int], object] = lambda done: None,
    calibration: str | None = None,
) -> list[dict[str, str]]:
    """Each row with all its columns and ``PREDICTED``: seconds of a step, bytes of the fullest rank, true or false.

    ``progress`` is called with the number of rows that are done.
    """
    found = []
    for row, prediction in zip(rows, predictions(model, cluster, rows, calibration), strict=True):
        columns = {name: value for name, value in row.items() if name != RAGGED}
        found.append(columns | _columns(prediction))
        progress(len(found))
    return found


def _predicted(predictor: Predictor, row: Row, gpus_of_cluster: int) -> Prediction:
    """Whatever the row is, no exception: one that nothing here expects is an internal error, told as the reason."""
    try:
        if RAGGED in row:
            return _unpredicted(row[RAGGED])
        found = predictor.predict(strategy_of(row, gpus_of_cluster))
    except (BadStrategy, NotApplicable, Impossible, ProblemError, UsageFault) as error:
        return _unpredicted(str(error))
    except Exception as error:
        return _unpredicted(f"internal error: {type(error).__name__}: {error}")
    if not found.reason and not (found.seconds is not None and math.isfinite(found.seconds)):
        return _unpredicted("internal error: the prediction has no time")
    return found


def _unpredicted(reason: str) -> Prediction:
    return Prediction(None, None, None, one_line(reason))


def _columns(prediction: Prediction) -> dict[str, str]:
    if prediction.reason:
        return dict(zip(PREDICTED, ("", "", "", prediction.reason), strict=True))
    size = "" if prediction.bytes is None else str(math.ceil(prediction.bytes))
    fits = "" if prediction.fits is None else str(prediction.fits).lower()
    return dict(zip(PREDICTED, (repr(float(prediction.seconds or 0.0)), size, fits, ""), strict=True))


def read_model_file(path: Path, family: str | None = None) -> Model:
    """The model of a config.json; ``family``: the model_type to read it as.

    Raises ``InputError`` for the file and ``UsageFault`` for an unknown ``family``.
    """
    config = read_config(path)
    model = read_model(config, family)
    check_model(model, config)
    return model


def read_table(path: Path) -> Table:
    """The strategies in a CSV file, ``-`` for stdin: a header, then a row a line.

    Blank lines are skipped. A row with other fields than the header comes back with a reason. Raises ``InputError``
    with file and line where the file is no such table.
    """
    text = decoded(read_bytes(path, MAX_BYTES), path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)

    def fail(message: str, line: int | None) -> NoReturn:
        raise InputError(path, line, None, message)

    columns: list[str] | None = None
    rows: list[Row] = []
    last = 0
    try:
        for fields in reader:
            line, last = last + 1, reader.line_num
            if not any(field.strip() for field in fields):
                continue
            if columns is None:
                columns = [field.strip() for field in fields]
                _check_header(columns, line, fail)
                columns = [name or f"{UNNAMED}{k}" for k, name in enumerate(columns)]
            else:
                rows.append(_row(columns, fields, line))
    except csv.Error as error:
        fail(f"is no CSV: {error}", last + 1)
    if columns is None:
        fail(f"is empty: its first line names the columns, among them {' and '.join(REQUIRED)}", None)
    return Table(columns, rows)


def _check_header(columns: Sequence[str], line: int, fail: Callable[[str, int | None], NoReturn]) -> None:
    if not set(columns) & set(COLUMNS):
        other = next((sign for sign in ";\t|" if any(sign in name for name in columns)), None)
        if other is not None:
            fail(f"has no columns of a strategy: separate them by commas, not by {shown(other)}", line)
    for i, name in enumerate(columns):
        if name and name in columns[:i]:
            fail(f"has two columns {shown(name)}: rename one", line)
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        fail(f"has no column {' and none '.join(missing)}: the first line names the columns", line)


def _row(columns: Sequence[str], fields: Sequence[str], line: int) -> Row:
    row = dict(zip(columns, [*fields, *[""] * len(columns)], strict=False))
    if len(fields) != len(columns):
        row[RAGGED] = f"line {line} has {len(fields)} fields, the header has {len(columns)}"
    return row


def table_text(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """The table as CSV: ``columns`` in their order, ``PREDICTED`` last where they are not among them."""
    out = io.StringIO(newline="")
    order = [*columns, *(name for name in PREDICTED if name not in columns)]
    writer = csv.DictWriter(out, order, restval="", lineterminator="\n")
    writer.writerow({name: "" if name.startswith(UNNAMED) else name for name in order})
    writer.writerows(rows)
    return out.getvalue()

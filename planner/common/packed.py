"""Files with gzip, by their names where they are written and by their first bytes where they are read."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path

MAGIC = b"\x1f\x8b"
"""A gzip file begins with it; text never does."""

LEVEL = 6
"""Of compression; 9 takes three times as long for files of plans that are a few per cent smaller."""


class Torn(ValueError):
    """A file that begins as gzip does and cannot be unpacked."""


def packed(path: Path | str, content: str) -> str | bytes:
    """What a file of that name holds: the content with gzip if the name ends in ``.gz``, else the content itself.

    The same content gives the same bytes: neither the time nor the name of the file is among them.
    """
    if not str(path).lower().endswith(".gz"):
        return content
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=buffer, mtime=0) as file:
        file.write(content.encode("utf-8"))
    return buffer.getvalue()


def unpacked(content: bytes, most: int) -> bytes:
    """The content of a gzip file, or content that is none as it is. It is cut off after ``most`` + 1 bytes.

    Raises ``Torn`` where the file ends too early or its data are wrong.
    """
    if not content.startswith(MAGIC):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            return file.read(most + 1)
    except EOFError:
        raise Torn("it ends too early") from None
    except (zlib.error, OSError) as error:
        raise Torn(str(error)) from None

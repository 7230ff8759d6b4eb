"""A picture as PNG: the SVG, rendered by resvg (the extra ``png``)."""

from __future__ import annotations

SCALE = 2.0
"""Pixels a unit of the SVG: sharp on paper and on fine screens."""

_EMPTY = "<svg xmlns='http://www.w3.org/2000/svg' width='40' height='20'>{}</svg>"
_LETTERS = "<text x='4' y='15' font-size='14' font-family='sans-serif'>8W</text>"


class NoPng(Exception):
    """Nothing to render with, or no font for the letters; the message says what to install."""


def png_of(svg: str) -> bytes:
    """The picture as a PNG file, twice as many pixels as the SVG has units. Raises ``NoPng``."""
    try:
        from resvg_py import svg_to_bytes
    except ImportError as error:
        raise NoPng("PNG needs the package resvg-py: pip install 'planner[png]'; --svg needs nothing") from error

    # Without a font resvg leaves letters out and says nothing.
    if svg_to_bytes(svg_string=_EMPTY.format(_LETTERS)) == svg_to_bytes(svg_string=_EMPTY.format("")):
        raise NoPng("PNG needs a font, and this machine has none: install one, such as Debian's fonts-dejavu-core")
    try:
        return bytes(svg_to_bytes(svg_string=svg, zoom=SCALE))
    except ValueError as error:
        raise NoPng(f"the picture cannot be rendered ({error}); --svg writes it as it is") from error

"""A picture as PNG: the SVG, rendered by resvg (the extra ``png``) with letters of its own."""

from __future__ import annotations

from planner.common.version import extra_hint

SCALE = 2.0
"""Pixels a unit of the SVG: sharp on paper and on fine screens."""


class NoPng(Exception):
    """No renderer is installed; the message says what to install."""


def png_of(svg: str) -> bytes:
    """The picture as a PNG file, twice as many pixels as the SVG has units. Raises ``NoPng``.

    Text in ``sans-serif`` is set in Source Sans Pro, which the extra brings: resvg does not know the system's
    sans-serif font, and silently omits letters that no font of it has. The machine's fonts give the letters that
    Source Sans Pro lacks.
    """
    try:
        import font_source_sans_pro as font
        from resvg_py import svg_to_bytes
    except ImportError as error:
        raise NoPng(
            f"PNG needs a package that is missing ({error.name}): {extra_hint('png')}; --svg needs nothing"
        ) from error

    try:
        return bytes(
            svg_to_bytes(
                svg_string=svg,
                zoom=SCALE,
                sans_serif_family="Source Sans Pro",
                font_files=[font.font_files_ttf["SourceSansPro"]],
            )
        )
    except ValueError as error:
        raise NoPng(f"the picture cannot be rendered ({error}); --svg writes it as it is") from error

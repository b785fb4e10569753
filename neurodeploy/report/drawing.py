"""A matplotlib figure as SVG to stand inside a page: ink in the page's color, type in its face, no name used twice."""

from __future__ import annotations

import hashlib
import io
import re
from contextlib import AbstractContextManager
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the page's own color of text, which is light on dark pages."""
BLUE, ORANGE, GREEN, PURPLE, PINK = "#3b82c4", "#d0622b", "#2f9e6e", "#8f6bd0", "#c2559d"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, PINK)
"""Told apart by people who see few colors, and at least 3 to 1 against white and against the dark page."""
TYPE_SIZE = 11
DOTS_PER_INCH = 216
"""Of what is drawn in pixels; a figure's unit is 1/72 inch, and shown as one pixel of the page."""
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "neurodeploy",
    "path.simplify": False,
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": TYPE_SIZE,
    "axes.titlesize": TYPE_SIZE,
    "axes.labelsize": TYPE_SIZE,
    "axes.titlelocation": "left",
    "axes.titlepad": 9,
    "lines.markeredgewidth": 1.2,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "legend.frameon": False,
    "legend.fontsize": TYPE_SIZE,
    "legend.handlelength": 1.6,
    "xtick.labelsize": TYPE_SIZE - 1,
    "ytick.labelsize": TYPE_SIZE - 1,
    "savefig.transparent": True,
    **{f"{part}.color": INK for part in ("text", "xtick", "ytick")},
    **{f"axes.{part}color": INK for part in ("edge", "label")},
}
WIDTH = 360
"""As wide as a phone shows without shrinking type; pages set figures side by side where there is room."""


def style() -> AbstractContextManager[None]:
    """Return a context in which figures are drawn as pages want them."""
    from matplotlib import rc_context

    return rc_context(STYLE)


def blank(height: float, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure `WIDTH` wide and `height` high, in units of 1/72 inch, with so many axes one under the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
    axes = figure.subplots(rows, 1, squeeze=False, sharex=rows > 1)
    return figure, list(axes[:, 0])


def faded(color: str, opacity: float) -> tuple[float, float, float, float]:
    """Return a color as red, green, blue and opacity."""
    red, green, blue = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return (red, green, blue, opacity)


def svg(figure: Figure, title: str) -> str:
    """Return `figure` as an SVG element named `title` for those who cannot see it."""
    written = io.StringIO()
    figure.savefig(written, format="svg", dpi=DOTS_PER_INCH, metadata={"Date": None, "Creator": None})
    return inline(written.getvalue(), title)


def inline(text: str, title: str) -> str:
    """Return an SVG file's text as an element of a page, with no name that another figure could have."""
    _, start, rest = text.partition("<svg ")
    attributes, _, body = rest.partition(">")
    box = re.search(r'viewBox="([^"]+)"', attributes)
    assert start
    assert box is not None
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    referred = set(re.findall(r"#([\w.-]+)[\")]", body))
    prefix = f"f{hashlib.sha256((title + body).encode()).hexdigest()[:8]}-"
    body = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in referred else "", body)
    body = re.sub(r'(url\(|href=")#', rf"\1#{prefix}", body)
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r"font: (?:(\w+) )?([\d.]+)px [^;\"]+", _type, body)
    body = re.sub(r" font-family: [^;\"]+;?", "", body)
    body = body.replace(INK, "currentColor")
    body = re.sub(r"\n\s*", "\n", body)
    width, height = box[1].split()[2:]
    opening = f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box[1]}" width="{width}" height="{height}"'
    return f'{opening} role="img"><title>{escape(title)}</title>{body}'


def _type(found: re.Match[str]) -> str:
    weight = f"; font-weight: {found[1]}" if found[1] else ""
    return f"font-size: {found[2]}px{weight}"

"""Parts of the report: how shares read, and figures as elements of a page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from neurodeploy.quantities import joule
from neurodeploy.report import wording
from neurodeploy.report.drawing import INK, SERIES, blank, style, svg

LIGHT, DARK = "#fdfdfc", "#14171a"
"""What is behind figures, as page.css has it."""


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (0, 2, "0.00%"),
        (1, 2, "100.00%"),
        (1e-6, 2, "<0.01%"),
        (1 - 1e-6, 2, ">99.99%"),
        (0.5, 0, "50%"),
        (None, 2, "–"),
    ],
)
def test_a_share_is_none_or_all_only_where_it_is(share: float | None, digits: int, text: str) -> None:
    assert wording.percent(share, digits) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0125, "12.5 mJ"), (1.41e-6, "1.41 µJ"), (2.0, "2 J"), (3e-13, "0.3 pJ")]
)
def test_energies_have_the_unit_that_suits_them(value: float, text: str) -> None:
    assert joule(value) == text


def test_a_figure_is_one_element_in_the_page_s_ink_and_face() -> None:
    """It parses, keeps its name for readers, and names nothing that another figure names."""
    with style():
        drawn = []
        for title in ("one < two", "two"):
            figure, (axes,) = blank(100)
            axes.plot([0, 1], [0, 1], rasterized=True)
            axes.set_title("$a$")
            drawn.append(svg(figure, title))
    for text, title in zip(drawn, ("one < two", "two"), strict=True):
        element = ElementTree.fromstring(text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))
        assert element.find("{*}title").text == title
        assert element.get("role") == "img"
        assert "currentColor" in text
        assert INK not in text
        assert "font-family" not in text
        assert ">$a$<" in text
    first, second = (set(re.findall(r' id="([^"]+)"', text)) for text in drawn)
    assert first
    assert not first & second


@pytest.mark.parametrize("behind", [LIGHT, DARK])
@pytest.mark.parametrize("color", SERIES)
def test_series_stand_out_on_both_grounds(color: str, behind: str) -> None:
    """At least 3 to 1, as WCAG 2.1 asks of graphics (1.4.11)."""
    light, dark = sorted((luminance(color), luminance(behind)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3


def luminance(color: str) -> float:
    """Return the relative luminance that WCAG defines."""
    channels = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

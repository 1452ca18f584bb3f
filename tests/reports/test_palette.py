"""The colours of the figures: readers with and without colour vision tell them apart."""

import re
from itertools import combinations

import pytest

from reports import drawing
from tests.helpers import colours
from tests.helpers.checkout import ROOT

STYLE = (ROOT / "reports/templates/style.css").read_text(encoding="utf-8")
THEMES = {"light": 0, "dark": 1}
LEAST_DIFFERENCE = 12.0
"""CIEDE2000 between any two colours; 2 to 5 is called a difference at a glance."""
IN_BARS = 5
"""Colours that bars are filled with, so that text stands on them."""


def variable(name, theme):
    found = re.search(rf"--{name}: light-dark\((#\w+), (#\w+)\)", STYLE)
    return found.groups()[THEMES[theme]]


def palette(theme):
    return [variable(f"c{i}", theme) for i in range(1, drawing.N_COLOURS + 1)]


def test_difference_of_colours_is_that_of_the_published_examples():
    pairs = [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ]
    for first, second, expected in pairs:
        assert colours.difference(first, second) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("seen", ["NORMAL", "PROTAN", "DEUTAN"])
def test_any_two_colours_can_be_told_apart(theme, seen):
    matrix = getattr(colours, seen)
    every = [colours.lab(code, matrix) for code in palette(theme)]
    assert min(colours.difference(a, b) for a, b in combinations(every, 2)) >= LEAST_DIFFERENCE


@pytest.mark.parametrize("theme", THEMES)
def test_marks_stand_out_from_the_surface_and_text_from_bars(theme):
    surface = variable("surface", theme)
    ratios = [colours.contrast(code, surface) for code in palette(theme)]
    assert min(ratios) >= 3
    assert min(ratios[:IN_BARS]) >= 4.5  # text in the colour of the surface stands in bars

"""What all figures share."""

import re

import matplotlib as mpl
import pandas as pd

from reports import drawing, line_charts


def test_ticks_of_a_logarithmic_axis_are_text_and_no_tex():
    def draw(frame):
        figure, (axes,) = drawing.new_figure(1.0)
        axes.plot(frame["x"], frame["y"])
        axes.set(xscale="log", yscale="log")
        return figure

    frame = pd.DataFrame({"x": [1.0, 10.0, 1e5], "y": [2e-5, 1e-3, 0.02]})
    made = drawing.svg(draw, frame, "figure")
    assert "$" not in made
    assert all(f">{tick}</text>" in made for tick in ("10⁻⁴", "0.01", "100", "10⁵"))


def test_no_two_lines_of_a_figure_look_alike():
    n = 2 * drawing.N_COLOURS + 3
    rows = [(f"line {i}", x, i) for i in range(n) for x in (0, 1)]
    frame = pd.DataFrame(rows, columns=["variant", "x", "y"])
    with mpl.rc_context(drawing.STYLE):
        _, axes = line_charts.line_chart(frame, "lines", "x", "y")
    drawn = [line for line in axes.get_lines() if len(line.get_xdata())]
    assert len({(line.get_color(), str(line._unscaled_dash_pattern)) for line in drawn}) == n


def test_svg_is_in_the_font_of_the_page_and_holds_no_digit_that_nobody_sees():
    frame = pd.DataFrame({"variant": "a", "x": [0.0, 1 / 3, 1.0], "y": [0.0, 1 / 7, 1.0]})
    made = drawing.svg(lambda f: line_charts.line_chart(f, "t", "x", "y")[0], frame, "f")
    assert "font-family" not in made
    assert f"font-size: {drawing.FONT_PT}px" in made
    assert re.search(r"\d\.\d{3}", re.sub(r">[^<]*<", "><", made)) is None

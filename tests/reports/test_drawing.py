"""What all figures share."""

import matplotlib as mpl
import pandas as pd

from reports import drawing


def test_no_two_lines_of_a_figure_look_alike():
    n = 2 * drawing.N_COLOURS + 3
    rows = [(f"line {i}", x, i) for i in range(n) for x in (0, 1)]
    frame = pd.DataFrame(rows, columns=["variant", "x", "y"])
    with mpl.rc_context(drawing.STYLE):
        _, axes = drawing.line_figure(frame, "lines")
        drawing.lines(axes, frame, "x", "y")
    drawn = [line for line in axes.get_lines() if len(line.get_xdata())]
    assert len({(line.get_color(), str(line._unscaled_dash_pattern)) for line in drawn}) == n

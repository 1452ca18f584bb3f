"""Row charts and line charts: each mark stands where its number says."""

from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports import drawing, history, line_charts, numbers, row_charts
from reports.topics.convergence.figures import running_median
from reports.topics.scaling.sections import _naive
from tests.helpers.drawings import drawn, outside, overlapping, written

RATIOS = pd.DataFrame(
    [
        ("much slower", 2.0, 1.8, 2.2, "slower"),
        ("faster", 0.5, 0.45, 0.55, "faster"),
        ("alike", 1.0, 0.99, 1.01, "same"),
        ("unknown", 1.1, 0.8, 1.5, "ambiguous"),
    ],
    columns=["label", "value", "low", "high", "kind"],
).assign(margin=0.03)


def marks(axes):
    """Return (x, y, marker) of the marks of a row chart, from above to below."""
    found = [line for line in axes.get_lines() if (line.get_gid() or "").startswith("tip-")]
    found.sort(key=lambda line: line.get_ydata()[0])
    return [(line.get_xdata()[0], line.get_ydata()[0], line.get_marker()) for line in found]


def test_forest_shows_each_ratio_in_its_order_with_its_verdict_as_a_marker():
    (axes,) = drawn(row_charts.forest, RATIOS, "time").axes
    assert [x for x, *_ in marks(axes)] == RATIOS["value"].tolist()
    assert [marker for *_, marker in marks(axes)] == [">", "<", "s", "o"]
    texts = [text.get_text() for text in axes.texts]
    assert [t for t in texts if t in set(RATIOS["label"])] == RATIOS["label"].tolist()
    assert "2.000 (1.800 to 2.200)" in texts


def test_axis_of_ratios_is_logarithmic_and_centred_on_one():
    (axes,) = drawn(row_charts.forest, RATIOS, "time").axes
    low, high = axes.get_xlim()
    assert axes.get_xscale() == "log"
    assert low * high == pytest.approx(1)
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    assert ticks == ["÷2", "÷1.2", "1", "\u00d71.2", "\u00d72"]


def test_effect_of_one_per_cent_is_seen_on_the_axis_of_ratios():
    small = RATIOS.head(1).assign(value=1.01, low=1.008, high=1.012, margin=np.nan)
    (axes,) = drawn(row_charts.forest, small, "time").axes
    pixels = axes.transData.transform([(1.0, 0), (1.01, 0)])[:, 0]
    assert pixels[1] - pixels[0] > 20


def test_forest_of_differences_is_centred_on_zero_and_shows_each_seed():
    frame = RATIOS.head(1).assign(value=-0.1, low=-0.2, high=0.0, points=[[-0.3, -0.1, 0.1]])
    (axes,) = drawn(row_charts.forest, frame, "difference", log=False).axes
    low, high = axes.get_xlim()
    assert low == -high
    assert [-0.3, -0.1, 0.1] in [list(line.get_xdata()) for line in axes.get_lines()]


def test_interval_that_is_not_known_is_not_written():
    frame = RATIOS.head(1).assign(low=np.nan, high=np.nan)
    (axes,) = drawn(row_charts.forest, frame, "time").axes
    assert "2.000" in [text.get_text() for text in axes.texts]


def test_dots_show_one_mark_for_each_process_in_the_row_of_its_case():
    marks = pd.DataFrame(
        [("a", "1", 100.0, 90.0, 110.0), ("a", "1", 120.0, 100.0, 130.0),
         ("b", "2", 1000.0, np.nan, np.nan)],
        columns=["label", "text", "value", "low", "high"],
    )  # fmt: skip
    (axes,) = drawn(row_charts.dots, marks, "tokens/s").axes
    drawn_marks = [line for line in axes.get_lines() if len(line.get_xdata()) == 1]
    assert [line.get_xdata()[0] for line in drawn_marks] == [100.0, 120.0, 1000.0]
    assert [line.get_gid() for line in drawn_marks] == ["tip-0", "tip-1", "tip-2"]
    heights = [line.get_ydata()[0] for line in drawn_marks]
    assert abs(heights[1] - heights[0]) < row_charts.LANE_PT < heights[2] - heights[1]


def test_stack_has_its_parts_side_by_side_and_hatched_apart():
    frame = pd.DataFrame({"label": ["a"], "text": ["4 s"], "x": [0.5], "y": [0.3], "z": [0.2]})
    figure = drawn(row_charts.stacks, frame, ["x", "y", "z"], "share", lambda v: f"{v:.1f}")
    bars = figure.axes[0].patches
    assert [bar.get_x() for bar in bars] == pytest.approx([0, 0.5, 0.8])
    assert [bar.get_width() for bar in bars] == pytest.approx([0.5, 0.3, 0.2])
    assert len({bar.get_hatch() for bar in bars}) == 3
    assert [text.get_text() for text in figure.texts] == ["x", "y", "z"]


def line(name, values):
    return pd.DataFrame({"variant": name, "x": range(len(values)), "y": values})


def test_lines_that_lie_on_each_other_are_one_line_with_both_names():
    frame = pd.concat([line("a", [0.0, 1.0]), line("b", [0.0, 1.001]), line("c", [0.0, 2.0])])
    made = drawing.svg(lambda f: line_charts.line_chart(f, "t", "x", "y")[0], frame, "f")
    assert "a = b" in written(made)
    with mpl.rc_context(drawing.STYLE):
        _, axes = line_charts.line_chart(frame, "t", "x", "y")
    assert len([each for each in axes.get_lines() if len(each.get_xdata())]) == 2


def test_names_at_line_ends_stay_apart_and_inside():
    frame = pd.concat(
        [line(f"a rather long name of line {i}", [1.0, 1 + i / 50]) for i in range(9)]
    )
    figure = drawn(line_charts.line_chart, frame, "t", "x", "y")
    assert overlapping(figure) == []
    assert outside(figure) == []


def test_odd_names_are_drawn_as_they_are():
    frame = pd.concat([line("_begins with a line", [0.0, 1.0]), line("$x_1$", [0.0, 2.0])])
    made = drawing.svg(lambda f: line_charts.line_chart(f, "t", "x", "y")[0], frame, "f")
    assert "_begins with a line" in written(made)
    assert "$x_1$" in written(made)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 200), min_size=1, max_size=8), st.floats(10, 24))
def test_blocks_are_spread_in_their_order_without_overlap(wanted, height):
    found = line_charts.spread(wanted, [height] * len(wanted), 0, 200)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    for below, above in pairwise(order):
        assert found[above] - found[below] >= height - 1e-6
    assert min(found) - height / 2 >= -1e-6
    assert max(found) + height / 2 <= 200 + 1e-6


def test_names_of_points_in_one_place_stay_apart():
    points = [(1.0, 1.0)] * 4

    def draw():
        figure, (axes,) = drawing.new_figure(200)
        axes.plot(*zip(*points, strict=True), "o")
        line_charts.name_points(axes, points, ["first", "second", "third", "fourth"])
        return figure

    assert overlapping(drawn(draw)) == []


def test_table_of_a_figure_has_words_for_columns_and_thins_many_rows():
    frame = pd.DataFrame({"variant": "a", "x": np.arange(1000.0), "hidden": 1})
    heads, rows, numeric, note = numbers.cells(
        frame, {"variant": "Line", "x": ("Where", lambda v: f"{v:.0f}"), "absent": "Absent"}
    )
    assert heads == ("Line", "Where")
    assert [row[1] for row in rows[:3]] == ["0", "5", "10"]
    assert numeric == {1}
    assert note.startswith("One row of every 5")


def test_labels_lose_what_all_of_them_share():
    short, common = drawing.distinct(["step: Model 5, cpu, fp32", "step: Model 4, cpu, fp32"])
    assert (short, common) == (["Model 5", "Model 4"], "step, cpu, fp32")
    assert drawing.distinct(["alone, cpu"]) == (["alone, cpu"], "")
    assert drawing.distinct(["a, b", "a"]) == (["a, b", "a"], "")


def test_running_median_removes_the_noise_of_single_batches():
    losses = np.where(np.arange(100) % 10 == 5, 9.0, 4.0)
    frame = pd.DataFrame({"case": "a", "loss": losses, "tokens": range(100)})
    assert set(running_median(frame)["loss"]) == {4.0}


def test_naive_guesses_are_the_last_size_and_the_line_through_two():
    points = pd.DataFrame(
        {
            "n_params": [100.0, 100.0, 200.0, 400.0],
            "loss": [9.0, 4.0, 2.0, 1.5],
            "is_target": [False, False, False, True],
        }
    )
    guesses = _naive(points)
    assert guesses["size_guess"].tolist()[-1] == 2.0
    assert guesses["line_guess"].tolist()[-1] == pytest.approx(1.0)
    assert np.isnan(guesses["size_guess"].tolist()[:-1]).all()


def test_history_marks_each_step_with_its_size():
    rows = pd.DataFrame(
        {
            "commit": ["aaaaaaa1", "bbbbbbb2", "ccccccc3", "ddddddd4"],
            "ratio": [1.0, 1.01, 1.2, 1.21],
            "level": [1.005, 1.005, 1.205, 1.205],
            "step": [False, False, True, False],
        }
    )
    figure = drawn(history.draw_trend, rows)
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    assert any("19.9" in text.get_text() for text in axes.texts)
    assert outside(figure) == overlapping(figure) == []


@pytest.mark.parametrize(("low", "high"), [(190, 3000), (0.98, 1.04), (1, 1.0001), (1e-6, 1e9)])
def test_logarithmic_axes_have_few_round_ticks(low, high):
    ticks = [tick for tick in drawing.round_ticks(low, high) if low <= tick <= high]
    assert 1 <= len(ticks) <= 8


@pytest.mark.parametrize(("limit", "drawn_lines"), [(1.37, 1), (20.0, 0), (np.nan, 0)])
def test_limit_that_is_near_is_a_line_on_the_axis(limit, drawn_lines):
    frame = pd.DataFrame({"label": ["a"], "text": ["1 of 2"], "x": [1.0], "limit": [limit]})
    (axes,) = drawn(row_charts.stacks, frame, ["x"], "bytes", lambda v: f"{v:.1f}").axes
    ends = [part[0][0] for lines in axes.collections for part in lines.get_segments() if len(part)]
    assert ends.count(limit) == drawn_lines
    assert axes.get_xlim()[1] == (1.37 if drawn_lines else 1.0)

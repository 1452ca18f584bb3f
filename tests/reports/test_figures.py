"""Every figure: its texts are legible, inside the canvas and apart; its numbers are a table."""

import re

import pytest

from tests.helpers.drawings import outside, overlapping, written
from tests.helpers.every_figure import figures, records
from tests.helpers.scaling_ledgers import ladder_records

PHONE_PX = 400 - 2 * 13.6 - 2 * 12.8 - 2
"""Width of a figure on a page of 400 px: less the margins of the page and of its frame."""


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    return [
        *figures(tmp_path_factory.mktemp("planted") / "run", records()),
        *figures(tmp_path_factory.mktemp("ladder") / "run", ladder_records()),
    ]


def test_every_topic_is_drawn(every):
    titles = {title for title, *_ in every}
    assert len(titles) >= 24
    assert {
        "How fast each case runs",
        "Every round of each case",
        "How a training step grows",
        "What missed targets mean for the loss",
        "The ladder and the next size",
        "How often a target was shown",
        "The form of the text along training",
    } <= titles


def test_no_text_covers_another(every):
    covered = {title: overlapping(figure) for title, _, figure in every}
    assert {title: pairs for title, pairs in covered.items() if pairs} == {}


def test_every_text_is_inside_the_canvas(every):
    left = {title: outside(figure) for title, _, figure in every}
    assert {title: texts for title, texts in left.items() if texts} == {}


def test_text_has_twelve_pixels_on_a_phone(every):
    for title, plot, _ in every:
        width = float(re.search(r'viewBox="0 0 ([\d.]+) ', plot.svg)[1])
        sizes = {float(size) for size in re.findall(r"font-size: ([\d.]+)px", plot.svg)}
        assert min(sizes) * PHONE_PX / width >= 12, title


def test_every_figure_has_a_short_name_and_its_numbers(every):
    for title, plot, _ in every:
        assert 10 < len(plot.alt) <= 120, title
        assert plot.data is not None, title
        assert 1 <= len(plot.data.rows) <= 200, title
        assert len(plot.data.columns) == len(set(plot.data.columns)) == len(plot.data.rows[0])


def test_every_point_with_a_tip_has_a_row_of_numbers(every):
    tipped = 0
    for title, plot, _ in every:
        tips = [int(i) for i in re.findall(r'id="[\w-]+-tip-(\d+)"', plot.svg)]
        assert len(tips) == len(set(tips)), title
        assert all(i < len(plot.data.rows) for i in tips), title
        tipped += bool(tips)
    assert tipped >= 10


def test_every_name_of_the_numbers_is_drawn(every):
    for title in ("How much of the text was shown", "Loss on unseen text"):
        (plot,) = (plot for name, plot, _ in every if name == title)
        for name in {row[0] for row in plot.data.rows}:
            assert name[:40].split(",")[0] in written(plot.svg)


def test_drawing_twice_gives_the_same_bytes(tmp_path):
    ledger = records()
    first, second = (
        [plot.svg for _, plot, _ in figures(tmp_path / name, ledger)] for name in ("a", "b")
    )
    assert first == second

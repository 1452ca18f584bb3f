"""What a figure shows: its texts, and the boxes that they take."""

import html
import re

import matplotlib as mpl
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from reports import drawing


def written(svg):
    """Return all texts of a figure in one line; names that were wrapped are whole again."""
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    return html.unescape(" ".join(texts)).replace("\u00a0", " ")


def drawn(draw, *args, **kwargs):
    """Return the figure that a function draws in the style of the page."""
    with mpl.rc_context(drawing.STYLE):
        made = draw(*args, **kwargs)
        figure = made[0] if isinstance(made, tuple) else made
        FigureCanvasAgg(figure).draw()
    return figure


def boxes(figure):
    """Return (text, box in points) of every visible text, boxes 1 pt smaller on each side."""
    with mpl.rc_context(drawing.STYLE):
        renderer = FigureCanvasAgg(figure).get_renderer()
        scale = 72 / figure.dpi
        found = []
        unseen = {*beyond_the_axes(figure)}
        for text in figure.findobj(Text):
            axes = getattr(text, "axes", None)
            hidden = axes is not None and not axes.get_visible()
            if (
                id(text) in unseen
                or hidden
                or not text.get_visible()
                or not text.get_text().strip()
            ):
                continue
            box = text.get_window_extent(renderer)
            ends = [box.x0 * scale + 1, box.y0 * scale + 1, box.x1 * scale - 1, box.y1 * scale - 1]
            found.append((text.get_text(), ends))
        return found


def beyond_the_axes(figure):
    """Return the labels of ticks that lie outside the limits: Matplotlib does not draw them."""
    for axis in figure.findobj(Axis):
        low, high = sorted(axis.get_view_interval())
        room = 1e-9 * (high - low)
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            if not low - room <= tick.get_loc() <= high + room or not axis.axes.get_visible():
                yield from (id(tick.label1), id(tick.label2))


def overlapping(figure):
    """Return the pairs of texts whose boxes overlap."""
    every = boxes(figure)
    return [
        (a, b)
        for i, (a, (x0, y0, x1, y1)) in enumerate(every)
        for b, (u0, v0, u1, v1) in every[:i]
        if x0 < u1 and u0 < x1 and y0 < v1 and v0 < y1
    ]


def outside(figure):
    """Return the texts that leave the canvas."""
    width, height = (72 * inches for inches in figure.get_size_inches())
    return [
        text
        for text, (x0, y0, x1, y1) in boxes(figure)
        if x0 < -2 or y0 < -2 or x1 > width + 2 or y1 > height + 2
    ]

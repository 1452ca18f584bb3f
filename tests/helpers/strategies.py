"""What the property tests share."""

from hypothesis import settings
from hypothesis import strategies as st

# The same examples in every run, and no limit on the time of the first, which may load files.
repeatable = settings(derandomize=True, deadline=None)


@st.composite
def shapes(draw, max_block=12, max_starts=80):
    """Draw (n_tokens, block_size) with at least one window."""
    block_size = draw(st.integers(1, max_block))
    return block_size + draw(st.integers(1, max_starts)), block_size

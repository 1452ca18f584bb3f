"""Labels of draws (windows, ranks, epochs), sorted and numbered in little memory.

A label is an integer of 0 or more. K is the number of draws, and each array of int64 takes 8 K
bytes: that of 10⁷ draws takes 80 MB, so these functions make as few of them as they can.
"""

import numpy as np
import numpy.typing as npt

from gptcore.audit.log import Whole

Mask = npt.NDArray[np.bool_]

TABLE = 4  # labels are looked up in a table that has at most so many places for each of them
AT_ONCE = 2**18  # draws that are looked at together, where a copy of all would take much memory


def sort_order(values: Whole) -> Whole:
    """Return the order that sorts values of 0 or more and keeps equal ones as they are.

    Value and place are sorted as one number where both fit into one; this takes a third of the time
    of a stable argsort.
    """
    bits = len(values).bit_length()
    if int(values.max(initial=0)) >= 2 ** (63 - bits):
        return np.argsort(values, kind="stable")
    both = values << bits
    for first in range(0, len(both), AT_ONCE):
        part = both[first : first + AT_ONCE]
        part |= np.arange(first, first + len(part))
    both.sort()
    both &= (1 << bits) - 1
    return both


def is_sorted(values: Whole) -> bool:
    """Return whether no value is less than the one before it."""
    return bool((values[1:] >= values[:-1]).all())


def by_group(group: Whole) -> Whole | slice:
    """Return the order that puts one group after the other; it takes no memory if they are."""
    return slice(None) if is_sorted(group) else sort_order(group)


def group_sizes(group: Whole) -> Whole:
    """Return the draws of each group; numpy would copy the zeros of one group to count them."""
    return np.bincount(group) if group.any() else np.array([len(group)])


def zeros(length: int) -> Whole:
    """Return zeros of shape (length,) that cannot be changed and take no memory."""
    return np.broadcast_to(np.int64(0), length)


def distinct(values: Whole) -> tuple[Whole, Whole]:
    """Return the distinct values in increasing order, and the index of each value among them.

    The values are 0 or more. Small ones are looked up in a table, others are sorted.
    """
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    if low == high:
        return values[:1], zeros(len(values))
    if high - low < TABLE * len(values):
        present = np.zeros(high - low + 1, dtype=np.bool_)
        present[values - low] = True
        if low == 0 and present.all():
            return np.arange(high + 1), values
        index: Whole = np.cumsum(present)
        index -= 1
        return np.flatnonzero(present) + low, index[values - low]
    order = sort_order(values)
    number = np.cumsum(~equals_next(values, order)[:-1])
    of_value = np.empty_like(order)
    of_value[order[:1]] = 0
    of_value[order[1:]] = number
    del order, number  # so that memory holds three arrays of this size at once, beside the values
    found = np.empty(int(of_value.max()) + 1, dtype=np.int64)
    found[of_value] = values
    return found, of_value


def equals_next(values: Whole, order: Whole) -> Mask:
    """Return, for each value in the given order, whether the next one is equal; bool, (K,)."""
    equal = np.zeros(len(order), dtype=np.bool_)
    for first in range(0, len(order), AT_ONCE):
        ordered = values[order[first : first + AT_ONCE + 1]]
        equal[first : first + len(ordered) - 1] = ordered[1:] == ordered[:-1]
    return equal


def count_distinct(values: Whole) -> int:
    """Return the number of distinct values; to sort them is faster than numpy's hash table."""
    ordered = np.sort(values)
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + min(len(values), 1)


def renumber(labels: Whole) -> Whole:
    """Return labels as 0, 1, …, in increasing order of the labels."""
    return distinct(labels)[1]

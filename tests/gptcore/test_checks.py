import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch

from gptcore import paired, power, stats
from gptcore.audit.log import DrawLog
from gptcore.checks import check_fraction, check_number, check_whole
from gptcore.coverage import pair_coverage
from gptcore.data.splits import Segment
from gptcore.data.tokenizer import encode
from gptcore.data.tokens import check_ids
from gptcore.sampling import Shard, make_sampler
from gptcore.sampling.batches import gather
from gptcore.scaling import check_table, drop_largest, law_from


@pytest.mark.parametrize("value", [0, -3, True, np.True_, 2.0, "2", None])
def test_only_whole_positive_numbers_count(value):
    with pytest.raises(ValueError, match=r"steps is .* at least 1"):
        check_whole("steps", value)


def test_a_numpy_integer_is_whole():
    assert check_whole("steps", np.int32(7)) == 7
    assert type(check_whole("steps", np.int32(7))) is int


def test_a_whole_number_may_be_as_large_as_is_said_and_no_larger():
    assert check_whole("rank", 3, at_least=0, at_most=3) == 3
    with pytest.raises(ValueError, match="rank is 4: give a whole number of at most 3"):
        check_whole("rank", 4, at_least=0, at_most=3)


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("[0, 1)", [0, 0.5], [-0.1, 1]),
        ("(0, 1]", [1e-9, 1], [0, 1.5]),
        ("(0, inf)", [1e300], [0, math.inf, -math.inf]),
        ("(0, inf]", [math.inf], [0]),
    ],
)
def test_a_bracket_says_whether_the_end_of_an_interval_is_allowed(interval, inside, outside):
    assert [check_number("share", value, interval) for value in inside] == inside
    for value in outside:
        with pytest.raises(ValueError) as error:  # noqa: PT011
            check_number("share", value, interval)
        assert str(error.value) == f"share is {value!r}: give a number in {interval}"


@pytest.mark.parametrize("value", [math.nan, True, "0.5", None])
def test_what_is_no_number_lies_in_no_interval(value):
    with pytest.raises(ValueError, match="share is"):
        check_number("share", value, "[0, 1]")


@pytest.mark.parametrize("value", [np.float32(0.5), np.int64(1)])
def test_a_numpy_number_becomes_a_float(value):
    assert type(check_number("share", value, "[0, 1]")) is float


def test_a_fraction_is_the_decimal_number_that_was_written():
    assert check_fraction("train_fraction", 0.9) == Fraction(9, 10)


@pytest.mark.parametrize("value", [np.ones((2, 2)), "x" * 10**6, "a\nb", 10**400])
def test_an_error_is_one_short_line_whatever_came(value):
    for check in (check_whole, lambda name, given: check_number(name, given, "(0, 1)")):
        with pytest.raises(ValueError, match="share is") as error:
            check("share", value)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 200


TINY = np.uint8(4)  # -TINY is 252, its float16 logarithm has three digits
LAW = law_from(1.7, 400, 410, 0.34, 0.28)
SAMPLER = make_sampler("sequential", n_tokens=300, block_size=8)
TABLE = pd.DataFrame({"loss": np.arange(10.0)})


@pytest.mark.parametrize(
    "call",
    [
        lambda four: LAW.predict(four, four).loss,
        lambda four: power.detectable_difference(0.1, 3 * four),
        lambda four: len(drop_largest(TABLE, four)),
        lambda four: pair_coverage([0, 8], SAMPLER, four),
        lambda four: gather(np.arange(300), [0, 290], four)[0].tolist(),
        lambda four: Shard(SAMPLER, 1, four).starts(0, 3).tolist(),
        lambda four: len(Segment(four, 200)),
    ],
)
def test_a_number_of_few_bits_gives_what_an_int_gives(call):
    assert call(TINY) == call(4)


@pytest.mark.parametrize(
    "call",
    [
        lambda: paired.sign_flip_p([math.inf]),
        lambda: stats.t_interval(np.ones(3), confidence=math.nan),
        lambda: paired.compare_pairs([1.0, 2.0], margin=1.0, confidence=1.5),
        lambda: stats.holm([[0.1], [0.2]]),
        lambda: stats.holm([0.1, math.nan]),
        lambda: power.detectable_difference(-1.0, 10),
        lambda: stats.verdict(1.0, 0.9, 1.1, margin=math.nan),
        lambda: Shard(SAMPLER, 4, 4),
        lambda: drop_largest(TABLE, True),
        lambda: gather(list(range(300)), [0], 8),
        lambda: gather(np.arange(300), torch.empty(3, device="meta"), 8),
        lambda: check_ids(torch.empty(3, device="meta"), 10),
        lambda: check_table([1, 2]),
        lambda: DrawLog(100, [0], np.array([8])),
        lambda: DrawLog(100, pd.Series([0]), np.array([8])),
        lambda: encode(b"text"),
    ],
)
def test_what_has_another_type_or_size_is_refused_in_one_line(call):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        call()
    assert "\n" not in str(error.value)

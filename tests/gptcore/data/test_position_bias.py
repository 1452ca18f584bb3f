import json
import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from gptcore.data.corpora import load_corpus
from gptcore.data.position_bias import boilerplate_mask, measure_bias
from gptcore.data.tokenizer import VOCAB_SIZE, encode
from tests.helpers.checkout import ROOT

CORPORA = ROOT.parent / "shared" / "corpora"
START, END = (f"*** {side} OF THE PROJECT GUTENBERG EBOOK A ***\r\n" for side in ("START", "END"))
LICENCE = "Donations are tax deductible to the maximum extent permitted by federal law. "


def random_text(n_sentences, seed=0):
    """Return sentences that are alike all over the text."""
    words = ["the", "sea", "ship", "island", "king", "we", "saw", "left", "great", "of", "to"]
    generator = np.random.default_rng(seed)
    sentences = (" ".join(generator.choice(words, 9)).capitalize() for _ in range(n_sentences))
    return "".join(f"{sentence}.\r\n" for sentence in sentences)


@pytest.fixture
def corpus_of(tmp_path):
    def load(text):
        (tmp_path / "text.txt").write_bytes(text.encode())
        return load_corpus(str(tmp_path / "text.txt"), raw=True)

    return load


def slow_block(ids, start, stop):
    """Measure a block as the recipe says it, with dictionaries."""
    block, parts = ids[start:stop], (ids[:start], ids[stop:])
    counts = Counter(token for part in parts for token in part)
    pairs = Counter(pair for part in parts for pair in pairwise(part))
    contexts = Counter(a for part in parts for a in part[:-1])
    n = sum(counts.values())

    def p(token):
        return (counts[token] + 0.1) / (n + 0.1 * VOCAB_SIZE)

    def p_after(a, b):
        return (pairs[a, b] + 50 * p(b)) / (contexts[a] + 50)

    here = Counter(block)
    js = 0.0
    for token in here | counts:
        q, r = here[token] / len(block), counts[token] / n
        js += sum(x * math.log(2 * x / (q + r)) for x in (q, r) if x) / 2
    return {
        "unigram": -sum(math.log(p(token)) for token in block) / len(block),
        "bigram": -sum(math.log(p_after(*pair)) for pair in pairwise(block)) / (len(block) - 1),
        "js": js,
        "unseen": sum(counts[token] == 0 for token in block) / len(block),
    }


def test_every_block_is_measured_as_the_recipe_says():
    ids = np.random.default_rng(0).zipf(1.3, size=701) % 400
    bias = measure_bias(ids, train_fraction=0.8)
    assert len(bias.profile) == 60
    for block in bias.profile:
        expected = slow_block(ids.tolist(), block.start, block.stop)
        answer = {name: getattr(block, name) for name in expected}
        assert answer == pytest.approx(expected, rel=1e-12)  # sums of 700 doubles


def test_blocks_go_evenly_from_the_start_to_the_tail():
    profile = measure_bias(np.arange(1_000) % 7).profile
    assert (profile[0].start, profile[0].stop) == (0, 100)
    assert (profile[-1].start, profile[-1].stop) == (900, 1_000)
    assert {b.start - a.start for a, b in pairwise(profile)} == {15, 16}


def test_rank_1_is_the_highest_and_z_is_in_units_of_the_spread():
    ids = np.random.default_rng(0).integers(0, 50, 3_000)
    ids[-300:] += 1_000  # tokens of its own
    bias = measure_bias(ids)
    tail, values = bias.tail, [block.unigram for block in bias.profile]
    assert (tail.rank_unigram, tail.rank_bigram, tail.rank_js, tail.rank_unseen) == (1, 1, 1, 1)
    assert tail.unseen == 1
    assert tail.js == pytest.approx(math.log(2))  # nothing in common: the greatest value
    assert tail.mean_unigram == pytest.approx(sum(values) / 60)
    spread = math.sqrt(sum((value - tail.mean_unigram) ** 2 for value in values) / 60)
    assert tail.sd_unigram == pytest.approx(spread)
    assert tail.z_unigram == pytest.approx((tail.unigram - tail.mean_unigram) / spread)
    assert bias.verdict.startswith("The tail is special, harder than most")


def test_a_tail_of_the_commonest_token_is_easier():
    ids = np.random.default_rng(0).zipf(2.0, size=3_000) % 400
    ids[-300:] = 1
    bias = measure_bias(ids)
    assert bias.tail.rank_unigram == 60
    assert bias.verdict.startswith("The tail is special, easier than most")


def test_a_text_that_is_alike_all_over_has_an_ordinary_tail():
    bias = measure_bias(np.random.default_rng(3).integers(0, 50, 3_000))
    assert abs(bias.tail.z_unigram) < 2
    assert bias.verdict.startswith("The tail is ordinary")


def test_blocks_that_differ_in_order_alone_share_rank_1_and_have_no_z():
    ids = np.tile(np.random.default_rng(0).zipf(1.3, size=100) % 400, 10)  # blocks of one period
    bias = measure_bias(ids)
    tail = bias.tail
    assert len({block.unigram for block in bias.profile}) > 1  # by rounding
    assert (tail.rank_unigram, tail.rank_js, tail.rank_unseen) == (1, 1, 1)
    assert tail.z_unigram is None
    assert {block.js for block in bias.profile} == {0}
    assert "all 60 blocks have" in bias.verdict
    assert json.loads(json.dumps(bias.as_dict()))["tail"]["z_unigram"] is None


def test_the_interval_is_about_the_tail_and_a_short_tail_has_none():
    ids = np.random.default_rng(0).zipf(1.3, size=9_000) % 400
    tail = measure_bias(ids).tail
    low, high = tail.unigram_interval_95
    assert low < tail.unigram < high
    assert measure_bias(ids[:3_000]).tail.unigram_interval_95 is None


def test_a_licence_in_the_tail_is_counted_and_explains_the_bias(corpus_of):
    header, licence = "A book.\r\n" + START, END + LICENCE * 20
    text = random_text(1_500)
    bias = measure_bias(corpus_of(header + text + licence))
    n_header, n_licence = len(encode(header)), len(encode(licence))
    assert bias.boilerplate_tokens_of_text == n_header + n_licence
    n_test = bias.profile[-1].stop - bias.profile[-1].start
    assert bias.boilerplate_share_of_test == n_licence / n_test
    assert bias.tail.z_unigram > 2
    assert bias.boilerplate_explains == pytest.approx(1, abs=0.1)  # but for chance in the text
    assert bias.tail_without_boilerplate == measure_bias(corpus_of(text)).tail
    assert f"{n_licence:,} of its tokens ({100 * n_licence / n_test:.1f} %)" in bias.verdict


def test_a_licence_that_is_not_to_blame_explains_nothing(corpus_of):
    odd = "Quicksilver vapours perplexed seventeen zoologists beyond Venezuelan jurisdiction. "
    bias = measure_bias(corpus_of(START + random_text(1_500) + odd * 60 + "\r\n" + END))
    assert bias.tail.z_unigram > 2
    assert bias.boilerplate_explains < 0.05
    assert "without them" in bias.verdict


def test_tokens_alone_do_not_tell_their_boilerplate():
    bias = measure_bias(encode(START + random_text(200)))
    assert bias.boilerplate_tokens is None
    assert bias.boilerplate_share_of_test is None
    assert "Gutenberg" not in bias.verdict


def test_a_text_without_markers_has_no_boilerplate(corpus_of):
    bias = measure_bias(corpus_of(random_text(200)))
    assert (bias.boilerplate_tokens, bias.boilerplate_share_of_test) == (0, 0)
    assert (bias.boilerplate_explains, bias.tail_without_boilerplate) == (None, None)


def test_the_mask_holds_the_tokens_that_begin_in_the_boilerplate():
    text = "\ufeffHéader\r\n" + START + "\r\nÆon 日本 é.\r\n" + END + "licence"
    ids = encode(text)
    mask = boilerplate_mask(text, ids)
    inside = encode("\r\nÆon 日本 é.\r\n")
    assert ids[~mask].tolist() == inside.tolist()
    assert mask[: len(encode("\ufeffHéader\r\n" + START))].all()


def test_the_json_object_has_its_names():
    answer = json.loads(json.dumps(measure_bias(np.arange(1_000) % 13).as_dict(), allow_nan=False))
    assert {"n_tokens", "boilerplate_tokens", "boilerplate_share_of_test", "tail", "profile"} < set(
        answer
    )
    assert answer["verdict"].endswith(".")
    assert answer["verdict"].count(". ") == 0  # one sentence
    assert set(answer["profile"][0]) == {"start", "stop", "unigram", "bigram", "js", "unseen"}
    assert {
        *("unigram", "bigram", "js", "unseen", "n_blocks", "mean_unigram", "sd_unigram"),
        *("rank_unigram", "rank_bigram", "rank_js", "rank_unseen"),
    } < set(answer["tail"])


@pytest.mark.parametrize(
    ("ids", "options", "complaint"),
    [
        (np.arange(64), {}, "64 tokens, 57 of them before the tail: .* needs 59; use a longer"),
        (np.arange(5), {}, "test part has 1 tokens"),
        (np.arange(500), {"train_fraction": 1.5}, "train_fraction is 1.5"),
        (np.arange(500) + VOCAB_SIZE, {}, "must lie in"),
        ([0.5] * 500, {}, "float64"),
    ],
)
def test_bad_input_is_refused_in_one_line(ids, options, complaint):
    with pytest.raises(ValueError, match=complaint) as error:
        measure_bias(ids, **options)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not (CORPORA / "pg829.txt").exists(), reason="the book is not there")
def test_the_bias_of_the_book_is_its_licence():
    bias = measure_bias(load_corpus(str(CORPORA / "pg829.txt"), raw=True))
    tail, rest = bias.tail, bias.tail_without_boilerplate
    assert bias.n_tokens == 158_350
    assert bias.boilerplate_tokens == 4_739
    assert bias.boilerplate_tokens_of_text == 261 + 4_739
    assert round(bias.boilerplate_share_of_test * 15_835) == 4_739
    assert round(bias.boilerplate_share_of_test, 3) == 0.299
    assert (round(tail.unigram, 3), round(tail.mean_unigram, 3)) == (6.888, 6.459)
    assert (round(tail.sd_unigram, 3), tail.rank_unigram) == (0.079, 1)
    assert (rest.rank_unigram, round(bias.boilerplate_explains, 2)) == (14, 0.91)


@pytest.mark.parametrize(("name", "rank"), [("pg84.txt", 26), ("pg1342.txt", 41)])
def test_books_without_boilerplate_have_an_ordinary_tail(name, rank):
    if not (CORPORA / name).exists():
        pytest.skip("the book is not there")
    bias = measure_bias(load_corpus(str(CORPORA / name), raw=True))
    assert (bias.boilerplate_tokens, bias.tail.rank_unigram) == (0, rank)
    assert bias.verdict.startswith("The tail is ordinary")


def test_counting_in_parts_changes_no_number(monkeypatch, corpus_of):
    corpus = corpus_of(START + random_text(400) + END + LICENCE * 9)
    whole = measure_bias(corpus)
    monkeypatch.setattr("gptcore.data.block_counts.AT_ONCE", 100)
    assert measure_bias(corpus) == whole

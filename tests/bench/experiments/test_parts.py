"""Where the windows of a training run lie: in parts of the text, or in its documents."""

from types import SimpleNamespace

import pytest

from bench.experiments.parts import BY_DOCUMENT, parts_of
from bench.suite.training_cases import TrainCase
from gptcore.data.corpora import load_corpus
from gptcore.data.splits import Segment
from gptcore.data.tokens import TokenStream

BOOK = "CHAPTER I.\nOne two three.\nCHAPTER II.\nFour five six seven.\n"


@pytest.fixture
def parts(tmp_path):
    def parts(text, sampler, used, *, raw=False):
        path = tmp_path / "book.txt"
        path.write_bytes(text.encode())
        session = SimpleNamespace(
            text=lambda _: load_corpus(str(path)),
            raw=lambda _: load_corpus(str(path), raw=True),
        )
        corpus = session.raw("book") if raw else session.text("book")
        case = TrainCase("orders", "book", 0, sampler, raw=raw)
        return parts_of(case, session, TokenStream.from_text(corpus.text), used)

    return parts


@pytest.mark.parametrize("sampler", BY_DOCUMENT)
@pytest.mark.parametrize("raw", [False, True])
def test_segments_of_a_sampler_that_cuts_documents_anew_are_documents(parts, sampler, raw):
    text = BOOK.replace("\n", "\r\n")
    first, second = parts(text, sampler, [Segment(1, 18)], raw=raw)
    assert (first.start, second.stop) == (1, 18)
    assert first.stop == second.start


def test_other_samplers_draw_from_the_parts_of_the_split(parts):
    used = [Segment(1, 9), Segment(12, 20)]
    assert parts(BOOK, "shuffled_blocks", used) == used


def test_text_without_known_documents_is_left_out_with_its_reason(parts):
    with pytest.raises(pytest.skip.Exception, match="no known documents"):
        parts("No headings at all, only words.", "rechunked_once", [Segment(0, 5)])

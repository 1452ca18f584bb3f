import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptcore.data.tokenizer import encode
from gptcore.data.vocabulary import Vocabulary, gpt2
from gptcore.data.words import count_words, detokenise, words_begun


def test_a_word_counts_for_the_token_it_begins_in():
    text = b"the cat  sat\nb"
    lengths = np.array([2, 3, 0, 4, 4, 1])  # th | "e c" | "" | "at  " | "sat\n" | b
    assert words_begun(text, lengths).tolist() == [1, 1, 0, 0, 1, 1]


@settings(deadline=None)  # the first encoding builds the tokenizer
@given(st.text(alphabet="ab 🦙é\n\t", max_size=40))
def test_words_of_gpt2s_tokens_add_up_to_those_of_the_text(text):
    ids = encode(text)
    lengths, content = gpt2().token_bytes(ids), gpt2().to_bytes(ids)
    assert content == text.encode()
    assert words_begun(content, lengths).sum() == len(text.split()) == count_words(text)


def test_lengths_of_another_text_are_refused():
    with pytest.raises(ValueError, match="the tokens have 3 bytes, and the text has 4"):
        words_begun(b"text", np.array([1, 2]))


def test_bytes_of_ids_are_those_that_each_stands_for():
    characters = Vocabulary(4, "meta.pkl", ("a", "é"))
    ids = np.array([1, 0, 3])
    assert characters.to_bytes(ids) == "éa".encode()
    assert characters.token_bytes(ids).tolist() == [2, 1, 0]
    assert Vocabulary(4).to_bytes(ids) is None
    emoji = encode("🦙")
    assert gpt2().to_bytes(emoji[:1]) == "🦙".encode()[: gpt2().token_bytes(emoji[:1])[0]]


@pytest.mark.parametrize(
    ("tokenised", "usual"),
    [
        ("a well @-@ known 1 @,@ 000 @.@ 5", "a well-known 1,000.5"),
        ("Yes , he said ; no : why ? Oh !", "Yes, he said; no: why? Oh!"),
        ("( or so ) [ x ]", "(or so) [x]"),
        ("the dog 's , it 'll , do n't", "the dog's, it'll, don't"),
        ("the dogs ' tails", "the dogs' tails"),
        ('He said " it is " .', 'He said "it is".'),
        (" \n = = Heading = = \n <unk> \n", "\n== Heading ==\n<unk>\n"),
        ("a - b", "a - b"),
    ],
)
def test_detokenise_writes_text_as_usual(tokenised, usual):
    assert detokenise(tokenised) == usual

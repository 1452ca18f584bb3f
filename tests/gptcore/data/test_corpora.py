import codecs
import gzip
import hashlib
import os
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.data.cleaning import authored_spans, clean_text
from gptcore.data.corpora import CORPORA, load_corpus
from tests.helpers.strategies import repeatable

BOOK = (
    "\ufeffProject Gutenberg's header\r\n\r\n"
    "*** START OF THE PROJECT GUTENBERG EBOOK A\r\nLONG TITLE ***\r\n\r\n\r\n"
    "Chapter 1\r\n\r\nIt was. * * * é\r\n\r\n\r\n"
    "*** END OF THE PROJECT GUTENBERG EBOOK A LONG TITLE ***\r\nlicence\r\n"
)
STEPS = (
    "byte-order mark dropped",
    "newlines normalised",
    "Project Gutenberg header and licence removed",
)


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "my book.txt"
    path.write_bytes(BOOK.encode())
    return path


def test_a_book_is_cut_to_what_its_author_wrote(book):
    corpus = load_corpus(str(book))
    assert corpus.text == "Chapter 1\n\nIt was. * * * é\n"
    assert corpus.cleaning == STEPS
    assert (corpus.name, corpus.licence) == ("my book", "unknown")


def test_sums_are_of_the_measured_text_and_of_the_file(book):
    corpus = load_corpus(str(book))
    assert corpus.sha256 == hashlib.sha256(corpus.text.encode()).hexdigest()
    assert corpus.source_sha256 == hashlib.sha256(BOOK.encode()).hexdigest()
    assert corpus.n_bytes == len(corpus.text.encode()) == len(corpus.text) + 1


def test_raw_keeps_every_character(book):
    corpus = load_corpus(str(book), raw=True)
    assert corpus.text == BOOK
    assert corpus.cleaning == ()
    assert corpus.sha256 == corpus.source_sha256


@pytest.mark.parametrize(
    ("text", "cleaned", "steps"),
    [
        ("plain\n", "plain\n", ()),
        ("a\rb\r\nc\n\rd", "a\nb\nc\n\nd", ("newlines normalised",)),
        ("a\ufeffb", "a\ufeffb", ()),
        ("\ufeff\ufeffa\n\ufeffb", "a\nb", ("byte-order mark dropped",)),
        (
            "x\n***START OF THIS PROJECT GUTENBERG EBOOK Y***\n\nz\n",
            "z\n",
            ("Project Gutenberg header removed",),
        ),
        (
            "z\n\n*** END OF THE PROJECT GUTENBERG EBOOK Y ***\nx",
            "z\n",
            ("Project Gutenberg licence removed",),
        ),
        (
            "*** END OF THE PROJECT GUTENBERG EBOOK Y ***\n"
            "*** START OF THE PROJECT GUTENBERG EBOOK Y ***\nz",
            "z",
            ("Project Gutenberg header and licence removed",),
        ),
        ("he said *** START OF THE PROJECT GUTENBERG EBOOK Y ***\nz",) * 2 + ((),),
    ],
)
def test_cleaning_records_what_it_changed(text, cleaned, steps):
    assert clean_text(text) == (cleaned, steps)


HEADER, LICENCE = (
    f"*** {side} OF THE PROJECT GUTENBERG EBOOK A BOOK ***\n" for side in ("START", "END")
)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (f"x\n{HEADER}x\n{HEADER}one\n{LICENCE}x\n", "one\n"),
        (f"x\n{HEADER}one\n{LICENCE}x\n{LICENCE}x\n", "one\n"),
        (f"x\n{HEADER}x\n{HEADER}one\n{LICENCE}x\n{LICENCE}x\n", "one\n"),
        (f"x\n{HEADER}\n one\n\n{LICENCE}x\n{HEADER}two\n{LICENCE}x\n", " one\n\ntwo\n"),
        (f"one\n{LICENCE}x\n{HEADER}two\n{LICENCE}x", "one\n\ntwo\n"),
        (f"x\n{HEADER}one\n{LICENCE}x\n{HEADER}two\n\n", "one\n\ntwo\n\n"),
        (f"x\n{HEADER}\n\n{LICENCE}x\n{HEADER}two\n{LICENCE}x", "two\n"),
        (f"x\n{HEADER}x\n{HEADER}one", "one"),
        (f"\n one\n{LICENCE}x\n{LICENCE}x", "\n one\n"),
    ],
    ids=[
        "two headers",
        "two licences",
        "both doubled",
        "two books",
        "two books, the first without header",
        "two books, the last without licence",
        "two books, the first empty",
        "two headers, no licence",
        "two licences, no header",
    ],
)
def test_doubled_and_missing_markers_leave_the_text_and_nothing_else(text, cleaned):
    assert clean_text(text)[0] == cleaned
    assert clean_text(text.replace("\n", "\r\n"))[0] == cleaned


SMALL_PRINT = "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\n"
LAST = "*** END OF THE PROJECT GUTENBERG EBOOK A BOOK ***\n"
OPENERS = {
    "etext": "*** START OF THE PROJECT GUTENBERG ETEXT A BOOK ***\n",
    "e-text": "***START OF THIS PROJECT GUTENBERG E-TEXT A BOOK***\n",
    "small print": SMALL_PRINT,
    "small print without an asterisk": SMALL_PRINT.replace("*END*T", "*END T"),
    "small print with its first line": "***START**THE SMALL PRINT!**START***"
    f"\nWhy is this here?\n\nYou know: lawyers.\n{SMALL_PRINT}",
    "small print of Shakespeare": '["Small Print" V.12.08.93]\n',
    "small print and a marker": f"{SMALL_PRINT}\nx\n\n{HEADER}",
    "copyrighted": "*** START OF THE COPYRIGHTED PROJECT GUTENBERG EBOOK A BOOK ***\n",
    "indented": f"  \t{HEADER}",
    "several blanks": HEADER.replace(" ", "  "),
    "a tab": HEADER.replace("*** S", "***\tS"),
    "asterisks in the title": HEADER.replace("A BOOK", "M*A*S*H *** A BOOK"),
    "a title over lines": HEADER.replace("A BOOK", "A BOOK OF\n  SEVERAL\nLINES"),
    "a title over lines that all end with asterisks": HEADER + "SEVERAL LINES ***\n",
    "no asterisks after the title": HEADER.replace(" BOOK ***", " BOOK"),
    "no asterisks": HEADER.replace("*** ", "").replace(" ***", ""),
    "lower case": HEADER.lower(),
    "beginning": HEADER.replace("START", "BEGINNING"),
    "a trade mark": HEADER.replace("GUTENBERG", "GUTENBERG(TM)"),
    "no article": HEADER.replace("THE ", ""),
    "produced": f"{HEADER}\n\nProduced by A. Volunteer and the Online Distributed\nTeam\n",
    "prepared": f"{HEADER}\nThis etext was prepared by A. Volunteer <a@b.c>\n",
    "transcribed": f"{HEADER}\nTranscribed from the 1892\nMacmillan edition by A. Volunteer\n",
    "html version": f"{HEADER}\nE-text prepared by A. B.\n\n\nHTML version by C. D.\n",
    "tags of HTML": f"<div><p class='a'>{HEADER.strip()}</p>\n",
    "entities of HTML": HEADER.replace("*", "&#42;").replace("; S", ";&nbsp;S"),
    "RTF": f"\\par {HEADER.strip()}\\par\n",
    "Markdown": "> " + HEADER.replace("*", "\\*"),
    "emphasis": f"_{HEADER.strip()}_\n",
    "asterisks of Unicode": HEADER.replace("*", "\u2217"),
    "a form feed and a blank without width": f"\f\u200b{HEADER}",
    "a dash of Unicode": HEADER.replace("EBOOK A", "E\u2010BOOK\u2014A"),
    "one asterisk": HEADER.replace("***", "*"),
    "equals signs": HEADER.replace("*", "="),
    "Australia": HEADER.replace("GUTENBERG", "GUTENBERG OF AUSTRALIA"),
    "in brackets": f"{HEADER}\n[Produced by A. Volunteer]\n",
}
CLOSERS = {
    "of the eBook": "End of the Project Gutenberg EBook of A Book, by N. N.\n\n" + LAST,
    "over two lines": "End of the Project Gutenberg EBook of A Book, by\nN. N.\n\n" + LAST,
    "alone": "End of The Project Gutenberg Etext of A Book\n",
    "possessive": "End of Project Gutenberg's A Book, by N. N.\n",
    "possessive with a typographic apostrophe": "End of Project Gutenberg\u2019s A Book\n",
    "capitals": "END OF PROJECT GUTENBERG ETEXT OF A BOOK\n",
    "this": "   End of this Project Gutenberg e-text\n",
    "German": "Ende dieses Projekt Gutenberg Etextes A Book\n\n" + LAST,
    "French": "Fin de Project Gutenberg's A Book\n",
    "French book": "Fin du livre \u00e9lectronique Projet Gutenberg\n\n" + LAST,
    "Dutch": "Einde van Project Gutenberg's A Book, door N. N.\n",
    "Italian": "Fine del Progetto Gutenberg EBook di A Book\n",
    "Spanish": "Fin del Proyecto Gutenberg EBook de A Book\n",
    "Australia": "End of this Project Gutenberg of Australia eBook A Book\n",
    "copyrighted": "*** END OF THE COPYRIGHTED PROJECT GUTENBERG EBOOK A BOOK ***\n",
    "details above": "**This is a COPYRIGHTED Project Gutenberg Etext, Details Above**\n",
    "etext": LAST.replace("EBOOK", "ETEXT"),
    "indented, several blanks": "  " + LAST.replace(" ", "   "),
    "a title over lines": LAST.replace("A BOOK", "A BOOK\nOF LINES"),
    "the licence's own marker after it": f"{LAST}\n*** START: FULL LICENSE ***\n",
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("opener", "closer"),
    [(form, LAST) for form in OPENERS.values()] + [(HEADER, form) for form in CLOSERS.values()],
    ids=[*OPENERS, *(f"end: {name}" for name in CLOSERS)],
)
def test_every_form_of_marker_is_cut(opener, closer, newline):
    story = "By the river,\nin the house of Project Gutenberg's founder.\n\nHe said *** and left.\n"
    text = f"Title: A Book\n\nwelcome\n{opener}\n\n{story}\n\n{closer}\nroyalties\n"
    raw = text.replace("\n", newline)
    assert clean_text(raw)[0] == story
    (span,) = authored_spans(raw)
    assert raw[slice(*span)].strip() == story.replace("\n", newline).strip()


@pytest.mark.parametrize(
    "text",
    [
        "End of Project Gutenberg's first decade.\nIt was\na long\nparagraph about it.\n",
        "End of the Project Gutenberg era, they said.\n",
        "END OF PROJECT GUTENBERG'S FIRST YEAR\n\n" + 99 * "It was winter in Illinois.\n",
        "The *** START OF THE PROJECT GUTENBERG EBOOK *** stands within a line.\n",
        "Produced by a machine, this text has no marker.\n",
        "START OF THE PROJECT\nGUTENBERG said the plan\n",
        "*** THE END ***\n",
        "*** START OF THE PROJECT GUTENBERG LICENSE ***\n",
        "Small print! For public domain etexts.\n",
    ],
)
def test_what_only_looks_like_a_marker_stays(text):
    text = f"One.\n\n{text}\nTwo.\n"
    assert clean_text(text) == (text, ())


def test_credits_end_an_old_header_that_has_no_marker():
    text = (
        "The Project Gutenberg Etext of A Book, by N. N.\n\nWe need your donations.\n\n"
        "This etext was produced by A. Volunteer.\n\nOne.\n\n"
        "End of Project Gutenberg's A Book\n"
    )
    assert clean_text(text)[0] == "One.\n"


def test_small_print_at_the_end_of_a_file_is_cut():
    text = f"{HEADER}One.\n\n{LAST}\nx\n***START**THE SMALL PRINT!\nlawyers\n{SMALL_PRINT}\n\n"
    assert clean_text(text)[0] == "One.\n"


@pytest.mark.parametrize(
    "text",
    [
        "*" * 10**6,
        " " * 10**6,
        "\n" * 10**6,
        "***START**THE SMALL PRINT\n" * 300,
        f"{HEADER}\n" + "a " * 10**6,
    ],
    ids=["asterisks", "blanks", "lines", "small prints", "one line"],
)
def test_markers_are_found_in_linear_time(text):
    begin = time.process_time()
    clean_text(text)
    assert time.process_time() - begin < 5  # under 0.5 s; a quadratic search takes an hour


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_authored_spans_are_those_of_the_text_as_it_is(newline):
    header, licence = (marker.replace("\n", newline) for marker in (HEADER, LICENCE))
    text = f"\ufeff{header}{newline}é one{newline}{licence}x"
    spans = [text[start:stop] for start, stop in authored_spans(text)]
    assert spans == [f"{newline}é one{newline}"]


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("plain", [(0, 5)]),
        ("", []),
        (f"x\n{HEADER}{LICENCE}x", []),
        (f"é{HEADER}", [(0, len(HEADER) + 1)]),
    ],
)
def test_authored_spans_of_a_text_without_boilerplate_or_without_text(text, spans):
    assert authored_spans(text) == spans


@repeatable
@given(st.text(alphabet=st.sampled_from("ab \n\r*")))
def test_cleaning_a_clean_text_changes_nothing(text):
    cleaned, _ = clean_text(text)
    assert clean_text(cleaned) == (cleaned, ())


def test_python_docs_joins_the_topics_in_order():
    from pydoc_data.topics import topics

    corpus = load_corpus("python-docs")
    assert corpus.text == "\n".join(topics[key] for key in sorted(topics))
    assert corpus.licence == "PSF-2.0"
    assert ".".join(map(str, sys.version_info[:3])) in corpus.source


def test_python_docs_without_pydoc_data_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(ValueError, match="lacks pydoc_data: install"):
        load_corpus("python-docs")


@pytest.mark.parametrize("name", CORPORA)
def test_every_named_corpus_loads(name):
    assert load_corpus(name).n_bytes > 0


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b" \r\n\t", "all white space"),
        (b"caf\xe9 au lait", "not UTF-8 at byte 3"),
        ("text".encode("utf-16")[:-1], "not UTF-16 at byte 8"),
        ("text".encode("utf-16-le"), "NUL character at character 1"),
        ("é\0".encode(), "NUL character at character 1"),
        (
            b"*** START OF THE PROJECT GUTENBERG EBOOK Y ***\n\n"
            b"*** END OF THE PROJECT GUTENBERG EBOOK Y ***\n",
            "is empty",
        ),
    ],
)
def test_files_that_are_no_text_are_refused(tmp_path, content, complaint):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=complaint) as error:
        load_corpus(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("spec", "remedy"),
    [
        ("no-such-name", "the names are python-docs"),
        ("", "the names are python-docs"),
        ("gutenberg", "python-docs and gutenberg:NUMBER"),
    ],
)
def test_an_unknown_name_is_refused_with_the_remedy(spec, remedy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=remedy):
        load_corpus(spec)


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF16_LE + "It was. é\n".encode("utf-16-le"),  # as PowerShell writes it
        codecs.BOM_UTF16_BE + "It was. é\n".encode("utf-16-be"),
        codecs.BOM_UTF32_LE + "It was. é\n".encode("utf-32-le"),
        gzip.compress("It was. é\n".encode(), mtime=0),
    ],
)
def test_a_text_may_be_in_utf_16_or_utf_32_with_a_mark_or_compressed(tmp_path, content):
    (tmp_path / "book.txt").write_bytes(content)
    assert load_corpus(str(tmp_path / "book.txt")).text == "It was. é\n"


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        load_corpus(str(tmp_path))


def test_an_unreadable_file_is_refused(book, monkeypatch):
    def deny(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(ValueError, match=r"Permission denied.*that can be read"):
        load_corpus(str(book))

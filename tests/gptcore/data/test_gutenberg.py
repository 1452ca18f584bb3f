"""Books by number, from a server on the loopback address: no test here asks any other."""

import errno
import gzip
import hashlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gptcore import console
from gptcore.data import gutenberg
from gptcore.data.corpora import load_corpus
from tests.helpers.failing_calls import Fault

BOOK = (
    "\ufeffheader\r\n*** START OF THE PROJECT GUTENBERG EBOOK A ***\r\n\r\n"
    "Chapter 1, é.\r\n"
    "*** END OF THE PROJECT GUTENBERG EBOOK A ***\r\nlicence\r\n"
).encode()


class Library:
    """A server that answers each path as told, and counts."""

    def __init__(self):
        self.answers, self.asked = {}, []
        library = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                library.asked.append(self.path)
                library.answers.get(self.path, status(404))(self)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.closing = threading.Event()
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self.thread.start()

    def close(self):
        self.closing.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def status(code, **headers):
    def answer(request):
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


def body(content, length=None):
    def answer(request):
        request.send_response(200)
        request.send_header("Content-Length", str(len(content) if length is None else length))
        request.end_headers()
        request.wfile.write(content)

    return answer


@pytest.fixture
def library(tmp_path, monkeypatch):
    library = Library()
    monkeypatch.setenv("GPTCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(
        "GPTCORE_GUTENBERG", f"{library.url}/a/{{number}} {library.url}/b/{{number}}"
    )
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(gutenberg, "TIMEOUT_S", (1.0, 0.2))
    yield library
    library.close()


def cached(tmp_path):
    folder = tmp_path / "cache"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_book_is_downloaded_cleaned_and_named(library, tmp_path):
    library.answers["/a/12"] = body(BOOK)
    corpus = load_corpus("gutenberg:12")
    assert corpus.text == "Chapter 1, é.\n"
    assert (corpus.name, corpus.source) == ("pg12", "Project Gutenberg, book 12")
    assert corpus.source_sha256 == hashlib.sha256(BOOK).hexdigest()
    assert load_corpus("gutenberg:12", raw=True).text == BOOK.decode()


def test_a_book_is_downloaded_once(library, tmp_path):
    library.answers["/a/12"] = body(BOOK)
    for _ in range(2):
        load_corpus("gutenberg:12")
    assert library.asked == ["/a/12"]
    assert cached(tmp_path) == ["pg12.txt", "pg12.txt.sha256"]


def test_a_redirect_is_followed(library):
    library.answers |= {"/a/12": status(302, Location="/moved"), "/moved": body(BOOK)}
    assert load_corpus("gutenberg:12").text == "Chapter 1, é.\n"


def headers(content, **fields):
    def answer(request):
        request.send_response(200)
        for name, value in fields.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(content)

    return answer


def endless(request, code=200, pause_s=0.0, piece=b"x" * 2**16, **fields):
    request.send_response(code)
    for name, value in fields.items():
        request.send_header(name, value)
    request.end_headers()
    try:
        while True:
            request.wfile.write(piece)
            time.sleep(pause_s)
    except OSError:  # the reader has gone
        request.close_connection = True


PAGE = b"\r\n <!DOCTYPE html><html><body>Sorry</body></html>"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (status(404), "status 404"),
        (status(503), "status 503"),
        (body(BOOK, len(BOOK) + 1), "the answer broke off"),
        (body(b"", 100), "the answer broke off"),
        (body(PAGE), "a web page instead of a text"),
        (body(b"<HTML lang='en'>"), "a web page instead of a text"),
        (body(b"\xef\xbb\xbf<!DOCTYPE html>"), "a web page instead of a text"),
        (body(PAGE.decode().encode("utf-16")), "a web page instead of a text"),
        (body(b"<?xml version='1.0'?><html>"), "a web page instead of a text"),
        (body(b" \r\n"), "an empty file"),
        (body("é".encode("latin-1")), "not UTF-8 at byte 0"),
        (body("é".encode("utf-16-le")), "not UTF-8 at byte 0"),
        (status(302, Location="/a/12"), "status 302"),
        (status(302, Location="file:///etc/hostname"), "sent on to an address that is not http"),
        (status(302, Location="http://[::"), "Invalid IPv6 URL"),
        (lambda request: endless(request, 302, Location="/a/12"), "status 302"),
        (endless, "more bytes, and at most 100,000 bytes"),
        (lambda request: endless(request, pause_s=0.1, piece=b"x"), "not complete after 2.5 s"),
        (body(BOOK, 10**15), "1,000,000,000,000,000 bytes, and at most 100,000"),
        (body(gzip.compress(bytes(10**7))), "more bytes, and at most 100,000 bytes"),
        (headers(gzip.compress(bytes(10**7)), Content_Encoding="gzip"), "more bytes, and at most"),
        (headers(gzip.compress(BOOK)[:-9], Content_Encoding="gzip"), "cannot be read"),
        (headers(b"x", Long="y" * 10**6), "no connection"),
        (lambda request: request.wfile.write(b"SSH-2.0-x\r\n"), "no connection"),
        (lambda _: None, "no connection"),
    ],
)
def test_a_bad_answer_is_not_kept_and_the_next_mirror_is_tried(
    library, tmp_path, monkeypatch, answer, reason
):
    monkeypatch.setattr(gutenberg, "MOST_BOOK_BYTES", 100_000)
    monkeypatch.setattr(gutenberg, "DEADLINE_S", 2.5)
    library.answers["/a/12"] = answer
    with pytest.raises(
        ValueError, match=r"book 12 could not be had from .*/b/12 \(status 404\)"
    ) as e:
        load_corpus("gutenberg:12")
    assert f"{library.url}/a/12 (" in str(e.value)
    assert reason in str(e.value)
    assert "download it by hand as plain UTF-8 text and give the path" in str(e.value)
    assert "\n" not in str(e.value)
    assert cached(tmp_path) == []
    library.answers["/b/12"] = body(BOOK)
    assert load_corpus("gutenberg:12").text == "Chapter 1, é.\n"


def test_a_server_that_stalls_is_left_soon(library, tmp_path):
    def stall(request):
        request.send_response(200)
        request.send_header("Content-Length", str(len(BOOK)))
        request.end_headers()
        request.wfile.write(BOOK[:20])
        request.wfile.flush()
        library.closing.wait(5)

    library.answers["/a/12"] = stall
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"/a/12 \(timed out\)"):
        load_corpus("gutenberg:12")
    assert time.monotonic() - start < 3  # 0.2 s allowed for an answer, and no second try
    assert library.asked == ["/a/12", "/b/12"]
    assert cached(tmp_path) == []


def test_a_server_that_never_answers_is_left_soon(library):
    library.answers["/a/12"] = lambda _: library.closing.wait(5)
    with pytest.raises(ValueError, match=r"/a/12 \(timed out\)"):
        load_corpus("gutenberg:12")


def test_without_a_network_the_error_says_what_to_do(library, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/{{number}}"
        monkeypatch.setenv("GPTCORE_GUTENBERG", url)
        with pytest.raises(ValueError, match=r"/829 \(no connection\): download it by hand"):
            load_corpus("gutenberg:829")


def test_a_book_of_known_sum_must_have_it(library, tmp_path, monkeypatch):
    monkeypatch.setitem(gutenberg.KNOWN_SHA256, 12, hashlib.sha256(BOOK).hexdigest())
    library.answers["/a/12"] = body(BOOK + b"!")
    with pytest.raises(ValueError, match=r"/a/12 \(its SHA-256 is not the known one"):
        load_corpus("gutenberg:12")
    assert cached(tmp_path) == []
    library.answers["/b/12"] = body(BOOK)
    assert load_corpus("gutenberg:12", raw=True).text == BOOK.decode()


def test_a_damaged_cache_is_replaced(library, tmp_path, monkeypatch):
    monkeypatch.setitem(gutenberg.KNOWN_SHA256, 12, hashlib.sha256(BOOK).hexdigest())
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "pg12.txt").write_bytes(BOOK[:50])
    library.answers["/a/12"] = body(BOOK)
    assert load_corpus("gutenberg:12", raw=True).text == BOOK.decode()
    assert cached(tmp_path) == ["pg12.txt", "pg12.txt.sha256"]


def test_a_compressed_answer_is_kept_as_the_text_that_it_is(library, tmp_path):
    library.answers["/a/12"] = headers(gzip.compress(BOOK), Content_Encoding="gzip")
    assert load_corpus("gutenberg:12", raw=True).text == BOOK.decode()
    assert (tmp_path / "cache" / "pg12.txt").read_bytes() == BOOK


def test_a_book_changed_in_the_cache_is_noticed_until_both_files_are_deleted(library, tmp_path):
    library.answers["/a/12"] = body(BOOK)
    load_corpus("gutenberg:12")
    path = tmp_path / "cache" / "pg12.txt"
    path.write_bytes(BOOK.replace(b"Chapter", b"chapter"))
    with pytest.raises(ValueError, match=r"pg12\.txt was changed after its download .*delete both"):
        load_corpus("gutenberg:12")
    path.unlink()
    path.with_name("pg12.txt.sha256").unlink()
    assert load_corpus("gutenberg:12").text == "Chapter 1, é.\n"


def test_a_book_put_into_the_cache_by_hand_is_used_and_its_sum_kept(library, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "pg12.txt").write_bytes(BOOK)
    assert load_corpus("gutenberg:12").text == "Chapter 1, é.\n"
    assert cached(tmp_path) == ["pg12.txt", "pg12.txt.sha256"]
    assert library.asked == []


def test_a_quick_download_says_nothing_and_a_slow_one_how_far_it_is(library, monkeypatch, capfd):
    library.answers |= {"/a/12": body(BOOK), "/a/13": body(BOOK * 20)}
    load_corpus("gutenberg:12")
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(console, "QUIET_S", 0.0)
    load_corpus("gutenberg:13")
    out, err = capfd.readouterr()
    assert out == ""
    size = round(len(BOOK) * 20 / 1000)
    assert err == f"{library.url}/a/13 {size}/{size} kB\n"


def test_a_cache_that_cannot_be_written_is_refused(library, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("GPTCORE_CACHE", str(tmp_path / "file"))
    library.answers["/a/12"] = body(BOOK)
    with pytest.raises(ValueError, match=r"cache .*file' cannot be used .*: set GPTCORE_CACHE"):
        load_corpus("gutenberg:12")


def test_a_full_disk_is_told_with_the_variable_that_names_another_cache(library, tmp_path):
    library.answers["/a/12"] = body(BOOK)
    with (
        Fault("fsync", 1, errno.ENOSPC).active(),
        pytest.raises(ValueError, match=r"No space left .*: set GPTCORE_CACHE"),
    ):
        load_corpus("gutenberg:12")
    assert cached(tmp_path) == []


def test_a_book_whose_sum_cannot_be_kept_is_used(library, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "pg12.txt").write_bytes(BOOK)
    with Fault("fsync", 1, errno.ENOSPC).active():
        assert load_corpus("gutenberg:12").text == "Chapter 1, é.\n"
    assert cached(tmp_path) == ["pg12.txt"]


@pytest.mark.parametrize("number", ["", "0", "012", "-1", "x", "1 ", "\uff11", "12345678", "829\n"])
def test_a_number_that_is_none_is_refused_without_asking(library, number):
    with pytest.raises(ValueError, match="give the number of a book, as in gutenberg:829"):
        load_corpus(f"gutenberg:{number}")
    assert library.asked == []


@pytest.mark.parametrize(
    "mirror", ["example.org/{number}", "http://example.org/829", "file:///{number}"]
)
def test_a_mirror_that_is_no_address_is_refused(library, monkeypatch, mirror):
    monkeypatch.setenv("GPTCORE_GUTENBERG", mirror)
    with pytest.raises(ValueError, match=r"GPTCORE_GUTENBERG has .*: give addresses"):
        load_corpus("gutenberg:12")


def test_the_built_in_mirrors_are_encrypted_and_take_the_number(monkeypatch):
    monkeypatch.delenv("GPTCORE_GUTENBERG", raising=False)
    assert gutenberg.find_mirrors() == gutenberg.GUTENBERG_MIRRORS
    assert all(mirror.startswith("https://") for mirror in gutenberg.GUTENBERG_MIRRORS)

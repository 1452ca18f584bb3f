"""The library `huggingface_hub` itself, on a hub of one model on this machine."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants

from gptcore.model import load_pretrained
from gptcore.model.causal import load_causal
from tests.helpers import published

COMMIT = "c" * 40
ADDRESS = "{repo_id}/resolve/{revision}/{filename}"


class Handler(BaseHTTPRequestHandler):
    """Answers as the hub does, whose commit, checksum and missing files are in the headers."""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(with_content=False)

    def do_GET(self):
        self.answer(with_content=True)

    def answer(self, *, with_content):
        path = self.server.folder / self.path.rpartition("/")[2]
        if not path.exists():
            self.send_response(404)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = path.read_bytes()
        checksum = hashlib.sha256(content).hexdigest()
        if self.server.changes(path.name):
            content = content[:-4] + bytes(4)
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{checksum}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_content:
            self.wfile.write(content)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that has a GPT-2 under every name, and an empty cache."""
    published.gpt2(tmp_path / "published")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.folder, server.changes = tmp_path / "published", lambda _name: False
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{address}/{ADDRESS}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("load", [load_pretrained, load_causal])
def test_what_was_fetched_once_is_read_from_the_cache_without_a_connection(hub, monkeypatch, load):
    if load is load_causal:
        published.llama(hub.folder, "The fox jumped over the fence, and then over another one.")
    fetched = load("owner/name")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"http://127.0.0.1:9/{ADDRESS}")
    again = load("owner/name")
    assert fetched.revision == again.revision == COMMIT
    assert fetched.name == "owner/name"


def test_a_file_that_is_not_the_one_of_its_checksum_is_refused(hub):
    hub.changes = lambda name: name == "model.safetensors"
    with pytest.raises(ValueError, match="and the published file has"):
        load_pretrained("owner/name")


def test_a_missing_file_is_named(hub):
    (hub.folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"Entry Not Found .*model\.safetensors"):
        load_pretrained("owner/name")

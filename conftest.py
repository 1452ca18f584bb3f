"""The command-line options of the suite, which pytest reads only from a root conftest."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.stopping import Stopping
from gptcore.console import at_home, to_path
from gptcore.files import write_errors
from gptcore.plain_text import in_one_line
from gptcore.streams import READER_HAS_GONE, what_is_wrong

if TYPE_CHECKING:
    from bench.session import Session


SESSION: pytest.StashKey[Session] = pytest.StashKey()
STOPPING: pytest.StashKey[Stopping] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the suite; they are written with `=`, as in --suite=smoke."""
    group = parser.getgroup("gptcore", "gptcore (with --benchmark-only)")
    group.addoption(
        "--suite",
        default="standard",
        metavar="NAME",
        help="cases and sizes: smoke (a minute), standard (10 minutes, the default), study (hours) "
        "or full (the run of the tutorial that introduced Model 5: 501 steps; hours on a CPU)",
    )
    group.addoption(
        "--corpus",
        action="append",
        metavar="NAME|PATH",
        help="text that the cases use: python-docs (the default) or the path of a text, which "
        "may be compressed; may be given several times",
    )
    group.addoption(
        "--model",
        metavar="FILE.py",
        help="a Python file with a model of yours (docs/own.md): it is measured in place of "
        "gptcore, beside gptcore at the same sizes",
    )
    group.addoption(
        "--pretrained",
        metavar="DIR|NAME",
        help="published weights of GPT-2's architecture, which are scored and fine-tuned beside "
        "training from scratch (docs/reuse.md): a folder with config.json and model.safetensors, "
        "or a name such as gpt2",
    )
    group.addoption(
        "--devices",
        metavar="LIST",
        help="devices to measure, as in --devices=cpu,cuda (default: all of this machine)",
    )
    group.addoption(
        "--engine",
        default="local",
        metavar="ENGINE",
        help="where cases that train or count run: local (the default, this process), or as tasks "
        "of a Ray cluster (docs/scale.md): ray starts one here, ray://auto joins that of this "
        "machine, and ray://HOST:PORT the one whose address `ray start --head` printed",
    )
    group.addoption(
        "--results",
        metavar="DIR",
        help="results folder of this run; if the folder holds the same run, that run is resumed "
        "(default: results/<UTC time>-<commit>)",
    )


def _measures(config: pytest.Config) -> bool:
    return config.option.benchmark_only and not config.option.collectonly


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that do not go together, before the plugins read them."""
    option = config.option
    names = ("suite", "devices", "results", "model", "pretrained", "engine")
    single = [getattr(option, name) for name in names]
    if [] in (*single, *(option.corpus or ())):
        pytest.exit("'--' is not a value of an option: give another one", 2)
    if not _measures(config):
        return
    config.pluginmanager.register(OneLine(), "gptcore-one-line")
    config.stash[STOPPING] = Stopping()
    config.add_cleanup(config.stash[STOPPING].restore)
    config.pluginmanager.register(config.stash[STOPPING], "gptcore-stopping")
    if sys.stdout is None:  # pytest itself would end in a traceback
        print("standard output cannot be written: it is closed", file=sys.stderr, flush=True)
        os._exit(2)
    known = vars(config.option)
    if known.get("dist", "no") != "no" or known.get("tx"):
        pytest.exit("cases are timed one after the other: leave out -n, --dist and --tx", 2)
    if config.option.benchmark_histogram and find_spec("pygal") is None:
        pytest.exit("--benchmark-histogram needs pygal: pip install pygal pygaljs", 2)
    with OneLine.errors():
        _open_places(config.option)


def _open_places(option: argparse.Namespace) -> None:
    """Make sure that what pytest-benchmark writes at the end can be written; `~` is a home."""
    if option.benchmark_json:
        option.benchmark_json = to_path(str(option.benchmark_json))
        with write_errors(option.benchmark_json):
            option.benchmark_json.open("ab").close()
    kind, _, place = option.benchmark_storage.rpartition("://")
    if (option.benchmark_save or option.benchmark_autosave) and kind in ("", "file"):
        option.benchmark_storage = str(to_path(place))
        with write_errors(Path(option.benchmark_storage)):
            Path(option.benchmark_storage).mkdir(parents=True, exist_ok=True)


class OneLine:
    """Ends a session with one line and exit code 2 where something outside of it is wrong.

    A fault of the code itself still ends with pytest's traceback.
    """

    OUTSIDE = (OSError, ValueError, MemoryError, RecursionError, argparse.ArgumentTypeError)
    reader_has_gone = False

    @classmethod
    @contextmanager
    def errors(cls) -> Iterator[None]:
        """End the session where the block raises one of those errors."""
        try:
            yield
        except BrokenPipeError:
            cls.reader_has_gone = True
            pytest.exit("the reader of the output has gone", returncode=READER_HAS_GONE)
        except cls.OUTSIDE as error:
            pytest.exit(in_one_line(what_is_wrong(error)), returncode=2)

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Take the place of INTERNALERROR, which pytest calls errors of any hook."""
        if isinstance(excinfo.value, self.OUTSIDE):
            with self.errors():
                raise excinfo.value

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self) -> Generator[None, None, None]:
        """Do the same at the end of a session, whose errors pytest does not catch."""
        with self.errors():
            return (yield)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """End without writing what is left of the output, or pytest would end with exit code 1."""
    if OneLine.reader_has_gone:
        os._exit(READER_HAS_GONE)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Open the session."""
    config = session.config
    if not _measures(config):
        return
    if config.option.trace:  # --trace writes profiles (see README) and starts no debugger
        config.pluginmanager.unregister(name="pdbtrace")
    from gptcore.cli.options import to_model  # loads numpy, so only when measuring

    results = config.option.results
    folder = None if results is None else to_path(results)
    model = None if config.option.model is None else to_path(config.option.model)
    pretrained = None if config.option.pretrained is None else to_model(config.option.pretrained)
    texts = [at_home(text) for text in config.option.corpus or ("python-docs",)]
    reporter = config.pluginmanager.getplugin("terminalreporter")
    reporter.write_line(
        "reading the texts and measuring the ceilings of this machine: a few seconds"
    )
    reporter.flush()
    stopping = config.stash[STOPPING]
    with stopping.errors():
        from bench.session import Session  # loads torch, so only when measuring

        config.stash[SESSION] = Session(
            config.option.suite,
            texts,
            config.option.devices,
            folder,
            trace=config.option.trace,
            model=model,
            pretrained=pretrained,
            engine=config.option.engine,
        )
    stopping.resume = config.stash[SESSION].how_to_resume


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Close the session; every finished case is already on disk."""
    measuring = session.config.stash.get(SESSION, None)
    if measuring:
        measuring.close(whole=exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the tests when measuring."""
    is_test = collection_path.is_relative_to(config.rootpath / "tests")
    return True if config.option.benchmark_only and is_test else None

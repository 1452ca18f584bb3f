"""The command-line options of the suite, which pytest reads only from a root conftest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bench.session import Session


SESSION: pytest.StashKey[Session] = pytest.StashKey()


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
        help="text that the cases use: python-docs (the default) or the path of a UTF-8 file; may "
        "be given several times",
    )
    group.addoption(
        "--devices",
        metavar="LIST",
        help="devices to measure, as in --devices=cpu,cuda (default: all of this machine)",
    )
    group.addoption(
        "--results",
        metavar="DIR",
        type=Path,
        help="results folder of this run; if the folder holds the same run, that run is resumed "
        "(default: results/<UTC time>-<commit>)",
    )


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let --trace write profiles (see README) instead of starting pdb, with --benchmark-only."""
    if _measures(config) and config.option.trace:
        config.pluginmanager.unregister(name="pdbtrace")


def _measures(config: pytest.Config) -> bool:
    return config.option.benchmark_only and not config.option.collectonly


def pytest_sessionstart(session: pytest.Session) -> None:
    """Open the session, or stop with exit code 2 and one line with the reason."""
    config = session.config
    if not _measures(config):
        return
    reporter = config.pluginmanager.getplugin("terminalreporter")
    reporter.write_line(
        "reading the texts and measuring the ceilings of this machine: a few seconds"
    )
    reporter.flush()
    from bench.session import Session  # loads torch, so only when measuring

    try:
        config.stash[SESSION] = Session(
            config.option.suite,
            config.option.corpus or ("python-docs",),
            config.option.devices,
            config.option.results,
            trace=config.option.trace,
        )
    except ValueError as error:
        pytest.exit(str(error), returncode=2)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Close the session; every finished case is already on disk."""
    measuring = session.config.stash.get(SESSION, None)
    if measuring:
        measuring.close(whole=exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the tests when measuring."""
    is_test = collection_path.is_relative_to(config.rootpath / "tests")
    return True if config.option.benchmark_only and is_test else None

"""The suite as its users run it: pytest with our options.

It runs within this process, where torch is loaded already, and measures the ceilings of the machine
on small products.
"""

import contextlib
import dataclasses
import gc
import io
import json
import shutil
import sys

import pytest

from bench import session
from bench.measuring import ceilings, pinning
from bench.suite.sizes import SUITES
from tests.helpers.checkout import ROOT
from tests.helpers.sessions import ONE_CASE


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Return a function that runs pytest on the benchmarks: options → exit code, output."""
    folder = tmp_path_factory.mktemp("checkout")  # where results/latest is written
    started = (f"--config-file={ROOT / 'pyproject.toml'}", "-p", "no:cacheprovider", ROOT / "bench")

    def run(*options):
        output = io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(output),
        ):
            for name in ("conftest", "bench.conftest"):  # each session has its own
                patch.delitem(sys.modules, name, raising=False)
            patch.chdir(folder)
            patch.delenv("PYTEST_XDIST_WORKER", raising=False)  # it disables pytest-benchmark
            patch.setitem(SUITES, "smoke", dataclasses.replace(SUITES["smoke"], ceiling_s=0.01))
            patch.setattr(ceilings, "GEMM_SHAPES", ((64, 64, 64),))
            patch.setattr(ceilings, "COPY_BYTES", 2**20)
            speed = session.REFERENCE_TOKENS_PER_S  # a slower machine plans fewer cases
            patch.setattr(session, "training_tokens_per_s", lambda *_sizes: speed)
            gc.freeze()  # to collect what this process has loaded would take longer than the run
            try:
                code = pytest.main([*map(str, started), *options])
            finally:
                gc.unfreeze()
                pinning.unpin()  # a run that was refused is still pinned
        return code, output.getvalue()

    return run


@pytest.fixture(scope="session")
def finished(run, tmp_path_factory):
    """Return a folder with a run of one case, and what options of pytest-benchmark add to it."""
    folder = tmp_path_factory.mktemp("finished")
    code, output = run(
        *ONE_CASE,
        f"--results={folder / 'run'}",
        f"--benchmark-json={folder / 'out.json'}",
        f"--benchmark-storage={folder / 'storage'}",
        "--benchmark-save=first",
        "--benchmark-group-by=func",
    )
    assert code == 0, output
    return folder


@pytest.fixture
def resumable(finished, tmp_path):
    """Return a copy of the finished run: its folder, and a function that changes its manifest."""
    folder = shutil.copytree(finished / "run", tmp_path / "run")

    def change(**facts):
        manifest = json.loads((folder / "run.json").read_text())
        manifest["fingerprint"] |= facts.pop("fingerprint", {})
        (folder / "run.json").write_text(json.dumps(manifest | facts))

    return folder, change

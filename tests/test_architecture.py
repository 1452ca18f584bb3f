import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "gptcore": {"gptcore"},
    "bench": {"gptcore", "bench", "conftest"},
    "reports": {"reports", "bench.ledger.record", "bench.ledger.folders", "gptcore.files"},
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("package", ALLOWED)
def test_arrows_between_packages_go_one_way(package):
    ours = ("gptcore", "bench", "reports", "tests", "conftest")
    for path in (ROOT / package).glob("**/*.py"):
        for name in imports(path):
            if name.split(".")[0] in ours:
                assert name in ALLOWED[package] or name.split(".")[0] in ALLOWED[package], (
                    f"{path.name} imports {name}"
                )


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("bench.ledger.record", ("torch", "numpy", "gptcore")),
        ("bench.ledger.folders", ("torch", "numpy", "gptcore")),
        ("bench.ledger.ledger", ("torch", "numpy")),
        ("gptcore.files", ("torch", "numpy")),
        ("reports.page", ("torch", "gptcore")),
        ("reports.__main__", ("torch",)),
        ("gptcore.coverage.visits", ("torch",)),
        ("gptcore.cli.main", ("torch", "pandas")),
    ],
)
def test_module_does_not_load(module, absent):
    code = f"import sys, {module}; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not set(absent) & set(result.stdout.split())

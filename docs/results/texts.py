"""Does the suite run on any text?

python docs/results/texts.py FILE… runs the suite `smoke` on each file, each time in a new process,
and prints one line for each: how many cases passed, were skipped and failed, and the exit code. A
file that is no text in UTF-8 must be refused in one line, with exit code 2. One file takes about a
minute.
"""

from __future__ import annotations

import collections
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_smoke(text: Path, results: Path) -> tuple[int, str]:
    """Return the exit code of the suite on `text`, and its outcome in words."""
    command = [sys.executable, "-m", "pytest", "--benchmark-only", "--benchmark-quiet", "-q"]
    done = subprocess.run(
        [*command, "--suite=smoke", f"--corpus={text.resolve()}", f"--results={results}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    ledger = results / "records.jsonl"
    if not ledger.exists():
        return done.returncode, (done.stderr or done.stdout).strip().splitlines()[-1]
    records = map(json.loads, ledger.read_bytes().splitlines())
    counts = collections.Counter(r["status"] for r in records if r["record"] != "environment")
    outcomes = ", ".join(f"{counts[name]} {name}" for name in ("ok", "skipped", "failed"))
    return done.returncode, outcomes


def main(paths: list[str]) -> int:
    """Run every text, print its outcome, and return 1 if the suite failed on one of them."""
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(paths):
            code, outcome = run_smoke(Path(path), Path(folder, str(number)))
            failed |= code not in (0, 2)
            print(f"{Path(path).name:24} exit code {code}: {outcome}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Measure time and memory of commands on large inputs, beside the goals of docs/growth.md.

Each command runs in a fresh process on an input that is made first, in a temporary folder. The time
is the CPU time of the process, and the memory its largest resident set. Run in the checkout, on
Linux or macOS:

    python docs/results/growth.py            # everything, about ten minutes and 1 GB of disk
    python docs/results/growth.py coverage   # the lines whose command has this word
"""

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

MB = 10**6
PLACE = 30  # columns of the name of an input


def write_text(path: Path) -> None:
    """Write 50 MB of lines of Python's reference, in random order."""
    lines = [line for topic in sorted(topics) for line in topics[topic].split("\n")]
    draw = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < 50 * MB:
            file.writelines(line + "\n" for line in draw.choices(lines, k=10_000))


def write_letter(path: Path) -> None:
    """Write one letter 50,000,000 times, in one line."""
    path.write_text("a" * 50 * MB)


def write_log(path: Path) -> None:
    """Write 10^7 windows of 256 tokens, drawn with replacement from 10^9 tokens."""
    starts = np.random.default_rng(0).integers(10**9 - 256, size=10**7)
    with path.open("w") as file:
        file.write("start,length\n")
        for part in np.array_split(starts, 100):
            file.write("".join(f"{start},256\n" for start in part.tolist()))


def write_json_log(path: Path) -> None:
    """Write the same log as 10^7 JSON objects."""
    starts = np.random.default_rng(0).integers(10**9 - 256, size=10**7)
    with path.open("w") as file:
        for part in np.array_split(starts, 100):
            file.write("".join(f'{{"start": {s}, "length": 256}}\n' for s in part.tolist()))


def write_losses(path: Path) -> None:
    """Write 10^6 losses of 200 runs: 20 sizes, 10 seeds, 5,000 checkpoints."""
    generator = np.random.default_rng(0)
    with path.open("w") as file:
        file.write("model,params,tokens_seen,loss,seed\n")
        for size in range(20):
            params = int(1e6 * 1.5**size)
            tokens = np.linspace(1e6, 20 * params + 2e6, 5000).astype(int)
            law = 1.7 + 400 / params**0.34 + 410 / tokens**0.28
            for seed in range(10):
                losses = law * np.exp(generator.normal(0, 0.003, 5000))
                rows = zip(tokens.tolist(), losses.tolist(), strict=True)
                file.write("".join(f"m{size},{params},{d},{x:.5f},{seed}\n" for d, x in rows))


def write_suites(path: Path) -> None:
    """Write a ledger of 160 runs of the standard suite, each on a text of its own."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.helpers.ledgers import environment, standard_ledger, write_ledger

    records = [environment()]
    for i in range(160):
        for case in standard_ledger()[1:]:
            params = case["params"] | {"corpus": f"text-{i}"}
            name = f"{case['case'].removesuffix(']')}-{i}]"
            records.append(case | {"case": name, "params": params})
    write_ledger(path, records[:10_000])


def write_failures(path: Path) -> None:
    """Write a ledger of 10,000 failed cases, each with a reason of 4,000 characters."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.helpers.ledgers import record, write_ledger

    lost = {"group": "model", "status": "failed", "reason": "out of memory; " * 270}
    write_ledger(path, [record(f"bench_model::test_step[{i}]", **lost) for i in range(10_000)])


AUDIT = "gptcore audit {} --tokens 1000000000 --block-size 256 --json"
# Writer, name of the input, command, goals in seconds and MB.
LINES = [
    (write_text, "text.txt", "gptcore coverage --corpus {} --json", 20, 500),
    (write_text, "text.txt", "gptcore leakage --corpus {} --json", 20, 500),
    (write_text, "text.txt", "gptcore bias --corpus {} --json", 20, 500),
    (write_letter, "letter.txt", "gptcore corpora {} --json", 20, 500),
    (write_letter, "letter.txt", "gptcore coverage --corpus {} --json", 20, 500),
    (write_letter, "letter.txt", "gptcore bias --corpus {} --json", 20, 500),
    (write_log, "log.csv", AUDIT, 20, 500),
    (write_json_log, "log.jsonl", AUDIT, 20, 500),
    (write_losses, "losses.csv", "gptcore scale fit {} --json", 10, 500),
    (write_failures, "failures", "reports {} -o {}.html", 30, 1000),
    (write_suites, "suites", "reports {} -o {}.html", 30, 1000),
]


def measure(command: list[str]) -> tuple[float, float]:
    """Run a command in a fresh process; return its CPU seconds and its peak memory in MB."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with exit code {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # of the resident set, in bytes
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / MB


def main() -> None:
    """Print a line for each command."""
    words = sys.argv[1:]
    print(f"{'command':{PLACE}} {'input':12} {'CPU s':>6} {'goal':>5} {'MB':>6} {'goal':>5}")
    with tempfile.TemporaryDirectory() as folder:
        for write, name, command, goal_s, goal_mb in LINES:
            if words and not any(word in command for word in words):
                continue
            path = Path(folder, name)
            if not path.exists():
                write(path)
            time_s, peak = measure(command.replace("{}", str(path)).split())
            label = command.split(" {}")[0].removesuffix(" --corpus")
            print(
                f"{label:{PLACE}} {name:12} {time_s:6.1f} {goal_s:5} {peak:6.0f} {goal_mb:5}",
                flush=True,
            )


if __name__ == "__main__":
    main()

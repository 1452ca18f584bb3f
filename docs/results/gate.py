"""Measure how often `bench compare` is wrong, on simulated runs whose truth is known.

Each line simulates pairs of runs and compares them with the real `compare`. In a line of equal
code, a comparison with any case called slower or faster is a false alarm; at most 5 % are wanted.
In the other lines some cases of NEW are slower, and it counts how many of them are found; at least
9 of 10 are wanted. Run in the checkout:

    python docs/results/gate.py                      # all lines, about six minutes
    python docs/results/gate.py --seed 7 --runs 500  # other draws, more of them
    python docs/results/gate.py --only interleaved   # the lines with this word
    python docs/results/gate.py --real               # times this machine instead (20 minutes)

`--real` runs `bench compare --interleave` on this machine, which has to be quiet: this checkout
with a copy of itself, and with a copy in which every timed call takes 1.3 times as long.
"""

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from bench.comparing.compare import compare  # noqa: E402
from bench.ledger.folders import RunFolder  # noqa: E402

LOG = math.log


@dataclass(frozen=True)
class World:
    """How two runs are drawn.

    Attributes:
        cases: number of cases; a pair gives the range that it is drawn from.
        sd: median standard deviation of ln time between processes.
        unequal: standard deviation over cases of ln of that standard deviation.
        wild: share of the cases whose standard deviation is 10 times as large.
        processes: processes, or interleaved rounds, of each case.
        drift: ln change of the machine in NEW that no reference sees.
        random_drift: standard deviation of that change, where it is random.
        loads: share of the drift that each case feels: "all" of it, "half" of the cases all of it,
            or a "random" share.
        seen: share of the drift that the reference copy sees.
        wander: standard deviation of the machine's own noise over processes, an AR(1) process.
        memory: its coefficient.
        tails: degrees of freedom of the noise; infinite is normal.
        slow: factor by which cases of NEW are slower.
        share: share of the cases that are slower; 0 is exactly one.
        interleaved: whether both runs are timed in turns.
    """

    cases: int | tuple[int, int] = (8, 60)
    sd: float = 0.02
    unequal: float = 0.0
    wild: float = 0.0
    processes: int = 3
    drift: float = 0.0
    random_drift: float = 0.0
    loads: str = "all"
    seen: float = 0.0
    wander: float = 0.0
    memory: float = 0.9
    tails: float = math.inf
    slow: float = 1.0
    share: float = 1.0
    interleaved: bool = False


EQUAL = World()
UNEQUAL = replace(EQUAL, unequal=1.0)
DRIFT = replace(UNEQUAL, drift=LOG(1.05))
QUIET = replace(EQUAL, sd=0.025, unequal=0.3, slow=1.3)
PAIRED = replace(UNEQUAL, interleaved=True, processes=6)
WORLDS = {
    "equal cases": EQUAL,
    "unequal cases": UNEQUAL,
    "very unequal cases": replace(EQUAL, unequal=1.5),
    "one case in ten is wild": replace(EQUAL, sd=0.005, wild=0.1),
    "half of the cases are wild": replace(EQUAL, sd=0.005, wild=0.5),
    "unequal, 2 to 7 cases": replace(UNEQUAL, cases=(2, 7)),
    "unequal, 5 processes": replace(UNEQUAL, processes=5),
    "unequal, heavy tails": replace(UNEQUAL, tails=3.0),
    "very quiet, drift of 5 %": replace(EQUAL, sd=0.003, drift=LOG(1.05)),
    "drift of 5 %": DRIFT,
    "drift of -5 %": replace(DRIFT, drift=-LOG(1.05)),
    "drift of 5 % in half of the cases": replace(DRIFT, loads="half"),
    "drift of 5 %, random shares": replace(DRIFT, loads="random"),
    "drift of 10 %, seen by the copy": replace(DRIFT, drift=LOG(1.1), seen=1.0),
    "random drift, sd 3 %": replace(DRIFT, drift=0.0, random_drift=0.03),
    "random drift, sd 5 %": replace(DRIFT, drift=0.0, random_drift=0.05),
    "wandering machine": replace(UNEQUAL, wander=0.02),
    "wandering and drift of 5 %": replace(DRIFT, wander=0.015),
    "slower x 1.3: all": QUIET,
    "slower x 1.3: half": replace(QUIET, share=0.5),
    "slower x 1.3: a tenth": replace(QUIET, share=0.1),
    "slower x 1.3: one": replace(QUIET, share=0.0),
    "slower x 1.3: one, sd 3 %": replace(QUIET, share=0.0, sd=0.03),
    "slower x 1.3: one of 8, sd 3 %": replace(QUIET, share=0.0, sd=0.03, cases=8),
    "slower x 1.5: one, unequal": replace(UNEQUAL, slow=1.5, share=0.0),
    "slower x 1.1: one, sd 0.5 %": replace(QUIET, sd=0.005, slow=1.1, share=0.0),
    "interleaved: unequal": PAIRED,
    "interleaved: very unequal": replace(PAIRED, unequal=1.5),
    "interleaved: 2 to 7 cases": replace(PAIRED, cases=(2, 7)),
    "interleaved: wandering and drift": replace(PAIRED, wander=0.03, drift=LOG(1.05)),
    "interleaved: heavy tails": replace(PAIRED, tails=3.0),
    "interleaved: slower x 1.1: one": replace(PAIRED, unequal=0.3, slow=1.1, share=0.0),
    "interleaved: slower x 1.3: all": replace(PAIRED, unequal=0.3, slow=1.3),
    # Looked at once, after the method was fixed.
    "held out: wild fifth, tails, drift": replace(DRIFT, sd=0.008, wild=0.2, tails=4.0),
    "held out: 4 processes, -4 %, random": replace(
        DRIFT, unequal=1.2, processes=4, drift=-0.04, loads="random"
    ),
    "held out: slow wander, 10 to 40 cases": replace(
        UNEQUAL, cases=(10, 40), sd=0.01, wander=0.02, memory=0.98
    ),
    "held out: drift in half, wander": replace(DRIFT, loads="half", wander=0.01, memory=0.5),
    "held out: slower x 1.3: a quarter": replace(QUIET, sd=0.03, share=0.25, tails=5.0),
    "held out: slower x 1.3: all, 8 cases": replace(QUIET, sd=0.03, cases=8),
    "held out: slower x 1.5: one, drift": replace(DRIFT, unequal=0.7, slow=1.5, share=0.0),
    "held out: interleaved, 10 rounds": replace(PAIRED, unequal=1.2, processes=10, wander=0.05),
}


def noise(rng: np.random.Generator, world: World, sds: np.ndarray) -> np.ndarray:
    """Return (cases, processes): chance between processes."""
    shape = (len(sds), world.processes)
    drawn = rng.normal(size=shape)
    if math.isfinite(world.tails):
        drawn = rng.standard_t(world.tails, shape) / math.sqrt(world.tails / (world.tails - 2))
    return sds[:, None] * drawn


def wander(rng: np.random.Generator, world: World, shape: tuple[int, int]) -> np.ndarray:
    """Return (cases, processes): the machine's noise, AR(1) in the order of measuring."""
    n = math.prod(shape)
    steps = rng.normal(0, world.wander * math.sqrt(1 - world.memory**2), n)
    values = np.empty(n)
    last = rng.normal(0, world.wander)
    for i, step in enumerate(steps):
        last = values[i] = world.memory * last + step
    # Two runs time the processes of a case in a row; interleaved rounds pass over all cases.
    return values.reshape(shape[::-1]).T if world.interleaved else values.reshape(shape)


def draw(rng: np.random.Generator, world: World) -> tuple[RunFolder, RunFolder, set[str]]:
    """Return BASE, NEW, and the cases that are slower in NEW."""
    n = (
        world.cases
        if isinstance(world.cases, int)
        else int(rng.integers(*world.cases, endpoint=True))
    )
    levels = rng.normal(-3, 1.5, n)
    sds = world.sd * np.exp(rng.normal(0, world.unequal, n))
    sds *= np.where(np.arange(n) < round(world.wild * n), 10, 1)
    drift = world.drift + rng.normal(0, world.random_drift)
    loads = {"all": np.ones(n), "half": np.arange(n) % 2, "random": rng.random(n)}[world.loads]
    slower = rng.permutation(n)[: max(1, round(world.share * n))] if world.slow > 1 else []
    factor = np.zeros(n)
    factor[slower] = LOG(world.slow)
    shape = (n, world.processes)
    common = wander(rng, world, shape)
    runs = []
    for side, change in enumerate((0.0, 1.0)):
        logs = levels[:, None] + change * factor[:, None] + noise(rng, world, sds)
        if world.interleaved:  # both sides of a round feel the same machine
            logs += common + drift * loads[:, None] * np.linspace(0, 1, world.processes)
        else:
            logs += wander(rng, world, shape) + change * drift * loads[:, None]
        copy = change * drift * world.seen
        runs.append(run_folder(("BASE", "NEW")[side], rng, np.exp(logs), copy, world))
    return *runs, {f"bench_model::test_step[c{i}]" for i in slower}


def run_folder(
    label: str, rng: np.random.Generator, times_s: np.ndarray, copy: float, world: World
) -> RunFolder:
    """Return a run as `RunFolder.read` returns it."""
    facts = {"run": {"interleaved": "simulated"}} if world.interleaved else {}
    shared = {"started_at": "2026-01-01T00:00:00+00:00", "commit": None, "environment": "e"}
    records = {}
    for i, row in enumerate(times_s):
        name = f"bench_model::test_step[c{i}]"
        records[name] = shared | {
            "record": "case",
            "case": name,
            "group": "model",
            "status": "ok",
            "reason": None,
            "params": {"device": "cpu"},
            "metrics": {},
            "facts": {},
            "samples": {
                "time_s": (row[0] * np.exp(rng.normal(0, 0.01, 5))).tolist(),
                "process_time_s": row.tolist(),
                "reference_s": (1e-3 * np.exp(rng.normal(0, 0.005, 2))).tolist(),
                "memory_reference_s": (1e-2 * np.exp(copy + rng.normal(0, 0.005, 2))).tolist(),
            },
        }
    environment = shared | {"record": "environment", "facts": facts, "metrics": {}}
    return RunFolder(label, Path(label), records, {"e": environment}, [])


def line(name: str, world: World, seed: int, runs: int) -> str:
    """Return one line of the table."""
    rng = np.random.default_rng([seed, *name.encode()])
    alarms = found = planted = 0
    detectable = []
    for _ in range(runs):
        base, new, slower = draw(rng, world)
        comparison = compare(base, new)
        calls = {row.case: row.verdict for row in comparison.rows}
        changed = {case for case, verdict in calls.items() if verdict in ("slower", "faster")}
        alarms += bool(changed - slower)
        found += sum(calls[case] == "slower" for case in slower)
        planted += len(slower)
        detectable.append(comparison.detectable_ratio)
    power = f"{found / planted:7.0%}" if planted else f"{'':7}"
    error = math.sqrt(alarms / runs * (1 - alarms / runs) / runs)
    return f"{name:38} {alarms / runs:7.1%} ± {error:4.1%} {power} {np.median(detectable):9.2f}"


SLOWER = """

def _slower(self, stop=PhaseClock.stop):
    synchronize(self._device)
    took_ns = time.perf_counter_ns() - self._first_ns
    while time.perf_counter_ns() < self._first_ns + {factor} * took_ns:
        pass
    return stop(self)


PhaseClock.stop = _slower
"""
"""Added to the clock of a copy: every timed call then takes `factor` times as long."""


def time_really(factor: float, options: argparse.Namespace) -> str:
    """Return a line on this checkout, compared with a copy of itself that is slower by `factor`."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, "copy")
        for name in ("bench", "gptcore"):
            shutil.copytree(ROOT / name, copy / name)
        for path in (*ROOT.glob("*.py"), *ROOT.glob("*.toml"), *ROOT.glob("*.txt")):
            shutil.copy(path, copy)
        if factor > 1:
            with (copy / "bench" / "measuring" / "clock.py").open("a") as file:
                file.write(SLOWER.format(factor=factor))
        command = ["compare", "--interleave", str(ROOT), "--results", str(Path(scratch, "run"))]
        command += ["--suite", options.suite, "--rounds", str(options.rounds), "-k", options.only]
        command += ["--format", "json"]
        done = subprocess.run(
            [sys.executable, "-m", "bench", *command], cwd=copy, stdout=subprocess.PIPE, check=False
        )
    if not done.stdout:
        sys.exit(f"the comparison ended with exit code {done.returncode}")
    found = json.loads(done.stdout)
    counts = ", ".join(f"{n} {name}" for name, n in found["counts"].items() if n)
    ratios = sorted(row["ratio"] for row in found["cases"] if row["ratio"])
    median = ratios[len(ratios) // 2] if ratios else math.nan
    return (
        f"copy slower x {factor:g}: {counts}; median ratio {median:.3f}, "
        f"could see x {found['detectable_ratio']:.2f}, exit code {done.returncode}"
    )


def main() -> None:
    """Print a line for each world."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=200, help="pairs of runs in each line")
    parser.add_argument("--only", default="", help="only lines, or cases, with this text")
    parser.add_argument("--real", action="store_true", help="time this machine instead")
    parser.add_argument("--rounds", type=int, default=6, help="with --real: rounds of each case")
    parser.add_argument("--suite", default="smoke", help="with --real: the suite")
    options = parser.parse_args()
    if options.real:
        for factor in (1.0, 1.3):
            print(time_really(factor, options), flush=True)
        return
    print(f"{'world':38} {'false':>7}   {'sd':5} {'found':>7} {'can see x':>9}")
    for name, world in WORLDS.items():
        if options.only in name:
            print(line(name, world, options.seed, options.runs), flush=True)


if __name__ == "__main__":
    main()

"""How often does the audit find a fault, and how often one that is not there? Made logs tell.

Each log comes from a loader whose windows are known, with or without one fault. A fault is found if
a finding of severity fault has a kind that names it. A sound log is wrong if it has any fault.
Loaders and faults in HELD_OUT were not looked at while the audit was made; they have lines of their
own with --held-out.

    python docs/results/audits.py            # 450 sound and 675 faulty logs, about a minute
    python docs/results/audits.py --quick    # 90 and 135
    python docs/results/audits.py --show     # every log that is judged wrongly

The loaders are in audit_loaders.py and the faults in audit_faults.py, beside this file. Legend: n
windows in an epoch, K draws.
"""

import argparse
from collections import Counter, defaultdict

import numpy as np
from audit_faults import FAULTS, faulty
from audit_loaders import EVEN, INDEPENDENT, PASSES, sound

HELD_OUT = {
    "last window short", "overlapping stride", "megatron", "random phase", "workers, shuffled",
    "van_der_corput", "blocks of shards", "distributed, batches", "stuck worker",
    "ranks with own seeds", "missing shard",
}  # fmt: skip
LARGER = "of more than 20 windows"


def found_faults(log):
    """Return the kinds of the faults that the audit finds."""
    return {finding.kind for finding in log.audit().findings if finding.severity == "fault"}


def tell(log, kinds):
    """Return what was chosen for a log, in a line."""
    options = " ".join(f"{k}={v}" for k, v in log.about.items())
    return f"K={len(log.start)} columns={','.join(log.known) or '-'} {options} -> {sorted(kinds)}"


def check_sound(seed, count, *, held_out, show):
    """Return loader → (logs, wrong logs)."""
    table = {}
    loaders = [k for k in (*PASSES, *INDEPENDENT, *EVEN) if (k in HELD_OUT) <= held_out]
    for i in range(count):
        kind = loaders[i % len(loaders)]
        rng = np.random.default_rng([seed, i, 0])
        log = sound(kind, rng, large=i // len(loaders) % 20 == 19)
        kinds = found_faults(log)
        tally = table.setdefault(kind, Counter())
        tally.update(logs=1, wrong=bool(kinds))
        if kinds and show:
            print(f"  sound {kind} [{i}] {tell(log, kinds)}")
    return table


def check_faulty(seed, count, *, held_out, show):
    """Return fault → (logs, named, any fault)."""
    table = defaultdict(Counter)
    names = [fault for fault in FAULTS if (fault in HELD_OUT) <= held_out]
    for i in range(count):
        fault = names[i % len(names)]
        rng = np.random.default_rng([seed, i, 1])
        while True:
            kind, log = faulty(fault, rng, large=i // len(names) % 20 == 19)
            if held_out or kind not in HELD_OUT:
                break
        kinds = found_faults(log)
        named = bool(kinds & FAULTS[fault][2])
        table[fault].update(logs=1, named=named, any=bool(kinds))
        if log.about["n"] > 20:
            table[LARGER].update(logs=1, named=named, any=bool(kinds))
        if not named and show:
            print(f"  {fault}, {kind} [{i}] {tell(log, kinds)}")
    return table


def main():
    """Print how many faults are found, and how many sound logs are called faulty."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a fifth of the logs")
    parser.add_argument("--held-out", action="store_true", help="loaders and faults held out too")
    parser.add_argument("--show", action="store_true", help="list the logs that are judged wrongly")
    args = parser.parse_args()
    share = 5 if args.quick else 1
    options = {"held_out": args.held_out, "show": args.show}
    clean = check_sound(args.seed, 450 // share, **options)
    bad = check_faulty(args.seed, 675 // share, **options)
    print(f"\n{'sound loader':28}{'logs':>6}{'with a fault':>14}")
    for kind, row in clean.items():
        print(f"{kind:28}{row['logs']:6}{row['wrong']:14}")
    total = sum(clean.values(), Counter())
    print(f"{'all':28}{total['logs']:6}{total['wrong']:14}  {total['wrong'] / total['logs']:.1%}")
    print(f"\n{'fault':28}{'logs':>6}{'named':>8}{'any fault':>12}")
    for fault, row in ((fault, bad[fault]) for fault in bad if fault != LARGER):
        print(f"{fault:28}{row['logs']:6}{row['named']:8}{row['any']:12}")
    larger = bad.pop(LARGER)
    for name, row in (("all", sum(bad.values(), Counter())), (LARGER, larger)):
        share = f"{row['named'] / row['logs']:.1%}"
        print(f"{name:28}{row['logs']:6}{row['named']:8}{row['any']:12}  {share}")


if __name__ == "__main__":
    main()

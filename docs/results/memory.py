"""Measure the memory that each sampler takes to be sampled, covered and audited on many tokens.

Each sampler has a process of its own, in which one pass over N tokens is drawn, its visits are
counted, and its draws are audited. Printed are CPU seconds and the largest resident memory, which
holds Python and numpy as well. The goal is 2 GB at 10^9 tokens. Samplers that permute are drawn at
the far end of their epoch, too. The audit finds a fault in two samplers, and is right:
t_plus_1_stride leaves out one target in each block of T + 1, and one pass of overlapping_stride is
longer than the N / T draws that each sampler has here. Run in the checkout, on Linux or macOS:

    python docs/results/memory.py                       # 10^8 tokens, every sampler
    python docs/results/memory.py 1000000000 golden     # 10^9 tokens, one sampler
"""

import itertools
import resource
import subprocess
import sys

import numpy as np

from gptcore.audit import DrawLog, audit_draws
from gptcore.coverage.visits import measure_draws
from gptcore.data.splits import Segment
from gptcore.sampling import SAMPLERS, make_sampler
from gptcore.sampling.samplers import JOINING

BLOCK_SIZE, DOCUMENT = 256, 100_000


def measure(name: str, n_tokens: int) -> None:
    """Draw, count and audit one pass; print a line."""
    if name in JOINING:
        cuts = [*range(0, n_tokens, DOCUMENT), n_tokens]
        parts = [Segment(a, b) for a, b in itertools.pairwise(cuts) if a < b]
        sampler = make_sampler(name, segments=parts, block_size=BLOCK_SIZE)
    else:
        sampler = make_sampler(name, n_tokens=n_tokens, block_size=BLOCK_SIZE)
    draws = n_tokens // BLOCK_SIZE
    covered = measure_draws(sampler, draws)
    begin, end = sampler.pieces(0, draws).targets()
    begin = np.maximum(begin, 1)  # the first token of a text is no target of a log
    kept = end > begin
    log = DrawLog(start=begin[kept] - 1, length=(end - begin)[kept], n_tokens=n_tokens)
    findings = audit_draws(log, sampler=name).findings
    faults = sum(finding.severity == "fault" for finding in findings)
    sampler.pieces((sampler.draws_per_epoch or draws) - 1_000, 1_000)
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9
    seconds = used.ru_utime + used.ru_stime
    print(
        f"{name:24} {draws:>10,} draws  missed {covered.missed_targets:>11,}  "
        f"faults {faults:>2}  {seconds:6.1f} s  {peak:5.2f} GB",
        flush=True,
    )


def main() -> None:
    """Print a line for each sampler, from a process of its own."""
    n_tokens = int(sys.argv[1]) if len(sys.argv) > 1 else 10**8
    names = sys.argv[2:] or list(SAMPLERS)
    if len(names) == 1:
        measure(names[0], n_tokens)
        return
    for name in names:
        subprocess.run([sys.executable, __file__, str(n_tokens), name], check=True)


if __name__ == "__main__":
    main()

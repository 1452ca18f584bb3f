"""Tables of losses made from a known scaling law: separate runs, and runs with checkpoints."""

import numpy as np
import pandas as pd

from gptcore.scaling.law import law_from

TRUTH = {"E": 1.8, "A": 480.0, "B": 2000.0, "alpha": 0.35, "beta": 0.37}
LAW = law_from(**TRUTH)


def ladder(*, sizes=5, step=3.0, lengths=(5, 20, 80), noise=0.0, seed=0, law=LAW):
    """Separate runs: every size at every length (tokens per parameter)."""
    rng = np.random.default_rng(seed)
    n = np.repeat(1e7 * step ** np.arange(sizes), len(lengths))
    d = n * np.tile(lengths, sizes)
    loss = law.loss(n, d) * np.exp(noise * rng.standard_normal(len(n)))
    names = [f"m{i}" for i in range(len(n))]
    return pd.DataFrame({"model": names, "params": n, "tokens_seen": d, "loss": loss})


def trajectories(*, sizes=5, step=3.0, tokens=1e10, checkpoints=40, noise=0.0, seed=0):
    """One run a size with evenly spaced checkpoints."""
    rng = np.random.default_rng(seed)
    n = np.repeat(1e7 * step ** np.arange(sizes), checkpoints)
    d = tokens * np.tile(np.arange(1, checkpoints + 1) / checkpoints, sizes)
    loss = LAW.loss(n, d) * np.exp(noise * rng.standard_normal(len(n)))
    names = [f"size{int(i // checkpoints)}" for i in range(len(n))]
    return pd.DataFrame({"model": names, "params": n, "tokens_seen": d, "loss": loss})

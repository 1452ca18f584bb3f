import numpy as np

from gptcore.audit.audits import audit_draws
from gptcore.audit.log import DrawLog


def look(starts, length, n_tokens, *, epoch_draws=None, sampler=None, **columns):
    starts = np.asarray(starts, dtype=np.int64)
    lengths = np.broadcast_to(np.asarray(length, dtype=np.int64), starts.shape)
    columns = {name: np.asarray(values, dtype=np.int64) for name, values in columns.items()}
    log = DrawLog(n_tokens, starts, lengths, **columns)
    return audit_draws(log, epoch_draws=epoch_draws, sampler=sampler)


def faults(audit):
    return {
        finding.kind: finding.count for finding in audit.findings if finding.severity == "fault"
    }


def notes(audit):
    return {finding.kind: finding.count for finding in audit.findings if finding.severity == "note"}


def grid(n_blocks, length=8):
    return np.arange(n_blocks) * length


def permuted(n_blocks, *, epochs, seed=0, length=8):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(n_blocks) for _ in range(epochs)]) * length


def random_starts(draws, n_starts, seed=0):
    return np.random.default_rng(seed).integers(n_starts, size=draws)

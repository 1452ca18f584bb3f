"""Audit: what somebody's own loader showed the model, from its log, its batches, or itself.

    >>> from gptcore.audit.audits import audit
    >>> ids = list(range(1_000))
    >>> loader = [[ids[start : start + 11]] for start in range(0, 980, 10)]
    >>> audit(loader, ids).missed_targets
    19

`audit` iterates a loader, `audit_log` reads a log of draws, `audit_tokens` takes rows of tokens.
Counts are exact; a finding is raised only for what chance does not explain (docs/auditing.md).
Nothing here loads torch.
"""

from gptcore.audit.audits import Audit, audit, audit_draws, audit_log, audit_tokens
from gptcore.audit.findings import Finding
from gptcore.audit.log import DrawLog, read_log

__all__ = [
    "Audit",
    "DrawLog",
    "Finding",
    "audit",
    "audit_draws",
    "audit_log",
    "audit_tokens",
    "read_log",
]

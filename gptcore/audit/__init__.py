"""Audit: what somebody's own loader showed the model, from its log, its batches, or itself.

    >>> import numpy as np
    >>> from gptcore.audit import audit
    >>> ids = np.arange(990)  # the text, as token ids
    >>> blocks = [ids[start : start + 11].reshape(1, 11) for start in range(0, 990, 11)]
    >>> result = audit(blocks, ids)
    >>> result.missed_targets  # the last token of a block does not predict the next block
    89
    >>> [finding.kind for finding in result.findings]
    ['lost_at_borders']

`audit` draws batches from a loader. `draw` calls a function get_batch, and `audit_part` says what
its batches show of one part of the data. `audit_log` reads a log of draws, `audit_tokens` takes
rows of tokens, and `audit_draws` takes draws whose places in the text are known. `locate` says from
which documents the rows of a loader come. Counts are exact. A finding is raised only for what
chance does not explain (`docs/auditing.md`). Nothing here loads torch.
"""

from gptcore.audit.audits import Audit, audit, audit_draws, audit_log, audit_tokens, locate
from gptcore.audit.drawing import Drawn, draw
from gptcore.audit.finding import Finding
from gptcore.audit.judging_resumes import Resume, audit_resume
from gptcore.audit.log import DrawLog, read_log
from gptcore.audit.parts import PartAudit, audit_part

__all__ = [
    "Audit",
    "DrawLog",
    "Drawn",
    "Finding",
    "PartAudit",
    "Resume",
    "audit",
    "audit_draws",
    "audit_log",
    "audit_part",
    "audit_resume",
    "audit_tokens",
    "draw",
    "locate",
    "read_log",
]

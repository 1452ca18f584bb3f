"""How far the numbers of a run can be trusted: steady cases, and pairs timed in turns."""

from reports.topics.trust.findings import find
from reports.topics.trust.sections import section

__all__ = ["find", "section"]

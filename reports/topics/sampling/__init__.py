"""What each sampler showed the model, beside exact theory."""

from reports.topics.sampling.findings import find
from reports.topics.sampling.sections import section

__all__ = ["find", "section"]

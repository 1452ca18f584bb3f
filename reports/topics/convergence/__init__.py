"""Whether training converged, which sampler ended lower, and what the models wrote."""

from reports.topics.convergence.findings import find
from reports.topics.convergence.sections import section

__all__ = ["find", "section"]

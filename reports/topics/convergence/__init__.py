"""Whether training converged, and which sampler ended with the lower loss."""

from reports.topics.convergence.findings import find
from reports.topics.convergence.sections import section

__all__ = ["find", "section"]

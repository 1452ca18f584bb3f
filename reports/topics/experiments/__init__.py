"""What the training experiments show beyond pairs of arms."""

from reports.topics.experiments.findings import find
from reports.topics.experiments.sections import section

__all__ = ["find", "section"]

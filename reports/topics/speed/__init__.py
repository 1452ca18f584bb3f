"""How fast the models ran, and how far that is from what the machine can do."""

from reports.topics.speed.findings import find
from reports.topics.speed.sections import section

__all__ = ["find", "section"]

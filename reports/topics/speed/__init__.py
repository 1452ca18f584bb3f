"""How fast the models ran, and how close that is to the limits of the machine."""

from reports.topics.speed.findings import find
from reports.topics.speed.sections import section

__all__ = ["find", "section"]

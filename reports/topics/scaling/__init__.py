"""The ladder of small models, its law, and the prediction of the next size."""

from reports.topics.scaling.findings import find
from reports.topics.scaling.sections import section

__all__ = ["find", "section"]

"""The user's own model: what the checks found, and what it costs and learns beside gptcore."""

from reports.topics.own_model.findings import find
from reports.topics.own_model.sections import section

__all__ = ["find", "section"]

"""gptcore beside other implementations, and without each of its optimisations."""

from reports.topics.peers.findings import find
from reports.topics.peers.sections import section

__all__ = ["find", "section"]

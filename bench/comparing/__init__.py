"""Compares runs by their ledgers: what changed, and since when. It needs no torch."""

"""Runs against runs, from their ledgers: what changed, and since when. It needs no torch."""

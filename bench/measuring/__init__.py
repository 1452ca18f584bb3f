"""Measures one piece of work: its time, its memory, its machine, and how stable the times are."""

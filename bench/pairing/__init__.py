"""Two pieces of work timed in turns in one process: a ratio with an interval."""

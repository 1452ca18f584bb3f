"""Times two pieces of work in turns in one process; the result is a ratio with an interval."""

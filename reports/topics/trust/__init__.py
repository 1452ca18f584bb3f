"""How far the numbers of a run can be trusted: steadiness, and pairs timed in turns."""

"""Where cases run when this process does not run them: as tasks of a Ray cluster."""

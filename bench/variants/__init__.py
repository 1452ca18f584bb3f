"""Other implementations of the work of a model case, each checked to do the same work as ours."""

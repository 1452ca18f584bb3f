"""How fast the models ran, and how far that is from what the machine can do."""

"""What runs, and at which sizes: the suites, their cases, and a plan of them for one machine."""

"""Whether training converged, which sampler ended lower, and what the models wrote."""

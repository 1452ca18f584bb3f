"""The experiments that train models: convergence, the ladder of sizes, interleaved pairs."""

"""The experiments behind the benchmarks: convergence, the ladder of sizes, pairs in turns."""

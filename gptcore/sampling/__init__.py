"""Samplers: which window of the text each draw shows, as a pure function of a seed and an index.

    >>> from gptcore.sampling import make_sampler
    >>> sampler = make_sampler("random_replacement", n_tokens=142_515, block_size=256, seed=0)
    >>> starts = sampler.starts(0, 16)  # the window starts of the first batch, shape (16,)

A sampler shards over ranks and workers, saves its state, and resumes exactly. Its expectations are
in `gptcore.theory.expectations`, what a run of it showed in `gptcore.coverage.visits`. Nothing here loads torch;
`gptcore.sampling.batches` makes tensors of tokens, `gptcore.sampling.loaders` puts a sampler behind
a DataLoader: import these two by their own names.
"""

from gptcore.sampling.base import Sampler, Shard, whole_batches
from gptcore.sampling.samplers import SAMPLERS, make_sampler
from gptcore.sampling.windows import Starts, check_starts, count_starts

__all__ = [
    "SAMPLERS",
    "Sampler",
    "Shard",
    "Starts",
    "check_starts",
    "count_starts",
    "make_sampler",
    "whole_batches",
]

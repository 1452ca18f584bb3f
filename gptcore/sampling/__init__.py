"""Samplers: which window of the text each draw shows, as a pure function of a seed and an index.

    >>> from gptcore.sampling import make_sampler
    >>> sampler = make_sampler("random_replacement", n_tokens=142_515, block_size=256, seed=0)
    >>> sampler.starts(0, 4).tolist()  # where the windows of the first four draws start
    [121008, 90613, 72713, 38379]
    >>> sampler.starts(3, 1).tolist()  # each draw can be made alone
    [38379]

`SAMPLERS` lists the names. A sampler is sharded over ranks by `shard`, and goes on exactly where
it stopped by `state` and `resume`. `gptcore.theory` tells what to expect of a sampler, and
`gptcore.coverage` counts what it showed.

Nothing here loads torch, apart from two modules that are imported by their own names:
`gptcore.sampling.batches` turns window starts into tensors of tokens, and
`gptcore.sampling.loaders` puts a sampler behind torch's DataLoader.
"""

from gptcore.sampling.base import Sampler, Shard
from gptcore.sampling.samplers import SAMPLERS, make_sampler
from gptcore.sampling.windows import (
    Pieces,
    Starts,
    check_starts,
    count_starts,
    whole_batches,
)

__all__ = [
    "SAMPLERS",
    "Pieces",
    "Sampler",
    "Shard",
    "Starts",
    "check_starts",
    "count_starts",
    "make_sampler",
    "whole_batches",
]

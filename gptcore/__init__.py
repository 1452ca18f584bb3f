"""gptcore: the parts of small-GPT training, with exact theory beside every measurement.

Each package is one subject. Its docstring is the first page of its documentation, and its names
are imported from the package itself:

    >>> from gptcore.coverage import measure_coverage
    >>> from gptcore.sampling import make_sampler
    >>> from gptcore.theory import expect_of
    >>> sampler = make_sampler("random_replacement", n_tokens=142_515, block_size=256, seed=0)
    >>> starts = sampler.starts(0, 8_016)  # the windows of 501 batches of 16
    >>> round(expect_of(sampler, draws=8_016).missed_targets, 1)  # expected over all seeds
    34.6
    >>> measure_coverage(starts, n_tokens=142_515, block_size=256).missed_targets  # this seed
    9

- `data`: texts, tokens, train and test parts, and what these parts share.
- `sampling`: which windows of the text a model is trained on.
- `theory`, `coverage`: what a sampler is expected to show the model, and what it showed.
- `audit`: what somebody else's data loader showed the model.
- `ops`, `model`, `training`, `evaluation`: GPT-2, how it is trained, and its loss on a text.
- `scaling`: laws of the loss, fitted to many training runs.
- `cli`: the command `gptcore`.
"""

__version__ = "0.1.0"

"""Words for the names in records. An unknown name is shown as it came."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

SAMPLER_LABELS = {
    "random_replacement": "random windows",
    "random_distinct": "random windows, distinct",
    "grid_replacement": "random blocks of the grid",
    "sequential": "DataLoader, unshuffled",
    "shuffled_blocks": "DataLoader, shuffled",
    "shuffled_once": "blocks, shuffled once",
    "shuffled_across_epochs": "blocks, epochs shuffled together",
    "rechunked_documents": "documents, cut afresh each epoch",
    "rechunked_once": "one order, cut afresh each epoch",
    "random_phase_blocks": "shuffled blocks, free offset",
    "stratified": "one window per stratum",
    "golden": "golden-ratio starts",
    "van_der_corput": "van der Corput starts",
    "overlapping_stride": "overlapping blocks, shuffled",
    "block_buffer_shuffle": "blocks, shuffle buffer",
    "t_plus_1_stride": "blocks of T + 1, no overlap",
    "shift_in_block": "labels shifted in the block",
}
SAMPLER_MEANINGS = {
    "random_replacement": "each window starts anywhere, independently of all others",
    "random_distinct": "every start once, in a new random order each epoch",
    "grid_replacement": "the text is cut into blocks; each draw takes any of them, independently",
    "sequential": "the text is cut into blocks, which are read in order again and again",
    "shuffled_blocks": "the text is cut into blocks, which come in a new random order each epoch",
    "shuffled_once": "the text is cut into blocks, which come in one random order every epoch",
    "shuffled_across_epochs": "the blocks of several epochs come in one random order",
    "rechunked_documents": "the documents come in a new random order each epoch, are joined, and "
    "are cut at new places",
    "rechunked_once": "the documents come in one random order, and are cut at new places each "
    "epoch",
    "random_phase_blocks": "the text is cut into blocks from a new random start each epoch, and "
    "these come in a new random order",
    "stratified": "the text has as many strata as blocks; each gives one random start an epoch",
    "golden": "each start lies a golden section of the text beyond the one before",
    "van_der_corput": "the starts halve the gaps between the earlier ones",
    "overlapping_stride": "blocks that overlap come in a new random order each epoch",
    "block_buffer_shuffle": "blocks are read in order through a buffer that gives random ones",
    "t_plus_1_stride": "blocks of T + 1 tokens are read in order; one token in T + 1 is no target",
    "shift_in_block": "blocks are read in order, with targets from inside the block alone",
}
"""What each sampler does, as a clause."""
SAMPLERS_IN_PROSE = {
    "sequential": "the unshuffled DataLoader",
    "shuffled_blocks": "the shuffled DataLoader",
    "shuffled_once": "blocks shuffled once",
    "shuffled_across_epochs": "blocks with epochs shuffled together",
    "rechunked_documents": "documents cut afresh in each epoch",
    "rechunked_once": "text cut afresh in one order",
}
SETTINGS = {
    "L0-H1-C128-no_positions-mlp": "Model 1",
    "L1-H1-C128-positions-no_mlp": "Model 2",
    "L1-H4-C128-positions-mlp": "Model 3",
    "L4-H4-C128-positions-mlp": "Model 4",
    "L12-H12-C768-positions-mlp": "Model 5",
    "init_normal": "standard normal weights",
    "init_gpt2": "weights as in GPT-2",
    "no_positions": "without positions",
    "positions": "with positions",
    "no_mlp": "without MLP",
    "mlp": "with MLP",
    "raw": "raw text",
    "cleaned": "cleaned text",
    "get_batch": "its own loader",
    "compact": "compact vocabulary",
    "gpt2": "GPT-2's vocabulary",
    "tail": "tested at the end",
    "head": "tested at the beginning",
    "middle": "tested in the middle",
    "order": "order of the seed",
    "Nall": "the whole text",
}
"""One setting of an arm, as a case id writes it (`WRITTEN` in bench/suite/training_cases.py), or
the shape of a preset (gptcore/model/config.py) → words."""
NUMBERED_SETTINGS = {
    r"N(\d+)": "{0} tokens of the text",
    r"epochs(.+)": "{0} epochs",
    r"([LHCBT])(\d+)": "{0} = {1}",
    r"lr(.+)": "learning rate {0}",
    r"decay(.+)": "weight decay {0}",
    r"block(\d+)of(\d+)": "tested on block {0} of {1}",
    r"order(\d+)": "order {0}",
    r"copies(\d+)": "copied {0} times",
    r"budget(.+)": "{0} FLOPs",
    r"evals(\d+)": "{0} evaluations",
    r"test(\d+)": "tested on {0} tokens",
}
"""Form of a setting with numbers → the words around them."""
SHARES = {"share": "{} of the text", "copied": "{} of the tokens are copies"}
"""Beginning of a setting with a share → the words around the share as a fraction."""
LOADING_LABELS = {
    ("memory", "gather"): "whole batches, from memory",
    ("mapped", "gather"): "whole batches, from a memory-mapped file",
    ("memory", "dataloader"): "torch DataLoader, from memory",
    ("memory", "workers"): "torch DataLoader with workers, from memory",
}
WORK_NOUNS = {
    "forward": "a forward pass",
    "forward_loss": "a forward pass with its loss",
    "step": "a training step",
    "forward_backward": "a forward and backward pass",
    "decode": "text generation",
}
DIMENSIONS = {
    "batch_size": "sequences (B)",
    "block_size": "tokens in a sequence (T)",
    "n_embd": "width (C)",
    "n_layer": "depth (L)",
}
CONDITIONS = {
    "fp32": "in fp32 without gradients",
    "bf16": "in bf16",
    "medium": "in fp32 with bf16 products",
    "gradients": "with gradients enabled",
    "last_logits": "with the logits of the last token alone",
    "one_thread": "on one thread",
}
CHANGES = {"precision": "in", "corpus": "on", "device": "on"}
WORK_LABELS = {
    "forward": "forward",
    "forward_loss": "forward + loss",
    "step": "training step",
    "forward_backward": "forward + backward",
    "decode": "text generation",
}


OWN_NAME = re.compile(r"(gptcore|transformers|litgpt)\b|[\w.]+\.py\b")
"""What begins with the name of a package or of a model file."""
SIDES = {
    frozenset({"shuffled_once", "rechunked_once"}): "one order for all epochs",
    frozenset({"shuffled_blocks", "rechunked_documents"}): "a new order in each epoch",
    frozenset({"shuffled_once", "shuffled_blocks"}): "fixed blocks",
    frozenset({"rechunked_once", "rechunked_documents"}): "blocks cut afresh in each epoch",
    frozenset({"random_replacement", "random_phase_blocks"}): "windows at any offset",
    frozenset({"grid_replacement", "shuffled_blocks"}): "windows on a fixed grid",
    frozenset({"random_replacement", "grid_replacement"}): "drawing with replacement",
    frozenset({"random_phase_blocks", "shuffled_blocks"}): "drawing without replacement",
}
"""Two arms of a 2 x 2 design → the level of a factor that they share."""


def arm(label: str, samplers: Mapping[str, str]) -> str:
    """Return the words for an arm of an experiment, or for the mean of several.

    The mean of the arms that share one level of a factor is named by that level.

    Args:
        label: its settings, joined by "-"; or several arms, joined by "+", of which a comparison
            takes the mean.
        samplers: name → words for a sampler.
    """
    arms = label.split("+")
    if side := SIDES.get(frozenset(arms)):
        return side
    several = [_settings(each, samplers) for each in arms]
    return several[0] if len(several) == 1 else f"the mean of ({'; '.join(several)})"


def _settings(label: str, samplers: Mapping[str, str]) -> str:
    parts = re.split("-(?=[A-Za-z])", label)  # a number may hold "-", as in lr1e-05
    if (shape := "-".join(parts[:5])) in SETTINGS:
        parts[:5] = [shape]
    # Of two readers only a foreign one is named: "sampler" is that of gptcore.
    told = [_setting(part, samplers) for part in parts if part not in ("sampler", "dataloader")]
    reader = " (torch's own)" if "dataloader" in parts else ""
    return f"{', '.join(told)}{reader}" or "gptcore's own"


def _setting(part: str, samplers: Mapping[str, str]) -> str:
    if share := re.fullmatch(r"(share|copied)(0\.\d+|1|0)", part):
        part_of_all = str(Fraction(share[2]).limit_denominator(1000))
        return SHARES[share[1]].format("all" if part_of_all == "1" else part_of_all)
    for form, told in NUMBERED_SETTINGS.items():
        if found := re.fullmatch(form, part):
            return told.format(*found.groups())
    return SETTINGS.get(part) or samplers.get(part) or SAMPLER_LABELS.get(part, part)

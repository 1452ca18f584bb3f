"""Words for the names in records. An unknown name is shown as it came."""

from __future__ import annotations

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
SAMPLERS_IN_PROSE = {
    "sequential": "the unshuffled DataLoader",
    "shuffled_blocks": "the shuffled DataLoader",
    "shuffled_once": "blocks shuffled once",
    "shuffled_across_epochs": "blocks with epochs shuffled together",
    "rechunked_documents": "documents cut afresh in each epoch",
    "rechunked_once": "text cut afresh in one order",
}
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

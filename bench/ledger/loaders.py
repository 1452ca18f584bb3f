"""The metrics of real DataLoaders beside those of the samplers that stand for them; of packing.

What a loader showed has the names that samplers have, as `missed_targets`.
"""

LOADER_COUNTS = {
    "audited_draws": "windows that training read from a DataLoader while they were audited",
    "audit_faults": "findings of that audit that are faults",
    "audit_notes": "findings of that audit that some loaders intend",
    "targets_equal_inputs": "rows of a user's loader whose targets are its inputs",
    "identical_epochs": "passes that equal an earlier pass in order",
    "sampler_missed_targets": "targets that the sampler that stands for the DataLoader missed",
    "sampler_repeated_windows": "draws less distinct starts of that sampler",
    "documents": "documents of the text whose packing is counted",
}

PACKING = (
    "packing", "block_size", "rows", "cropped_share", "padding_share", "left_over_tokens",
    "whole_documents",
)  # fmt: skip
"""Columns of the series `packing`: `gptcore.data.packing.Packing` in rows of block_size + 1."""

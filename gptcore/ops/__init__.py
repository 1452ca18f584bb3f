"""Operations of training that gptcore computes in its own way, to save time or memory.

They work on tensors and know nothing of a GPT. Each module holds one operation:

- `cross_entropy`: the head and the cross-entropy together, without holding all logits;
- `tied_embedding`: an embedding whose matrix is also the head, with one gradient for both;
- `gelu`: GPT-2's activation, faster on a CPU;
- `bfloat16`: products and attention in bfloat16, faster on a CPU.

    >>> import torch
    >>> from gptcore.ops.cross_entropy import linear_cross_entropy
    >>> hidden, weight = torch.zeros(1, 4, 8), torch.zeros(16, 8)  # (B, T, C) and (V, C)
    >>> linear_cross_entropy(hidden, weight, torch.tensor([[1, 2, 3, 4]]))
    tensor(2.7726)
"""

from gptcore.ops import bfloat16, cross_entropy, gelu, tied_embedding

__all__ = ["bfloat16", "cross_entropy", "gelu", "tied_embedding"]

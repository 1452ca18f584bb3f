"""Kernels of training: cross-entropy, GELU, bfloat16 products, the gradient of a tied embedding.

They work on tensors and know nothing of a GPT. Each module is one operation:

    >>> from gptcore.ops.cross_entropy import linear_cross_entropy
    >>> from gptcore.ops.gelu import gelu
"""

from gptcore.ops import bfloat16, cross_entropy, gelu, tied_embedding

__all__ = ["bfloat16", "cross_entropy", "gelu", "tied_embedding"]

"""Parameters, floating-point operations and memory traffic of a GPT: functions of its config.

A multiply-add counts as 2 operations. Only matrix products are counted: look-ups, norms, softmax,
GELU and the optimizer are left out. Attention counts all T × T scores, as
`torch.utils.flop_counter` does, although the causal mask hides half of them and fused kernels skip
part of that half.
"""

from gptcore.checks import check_whole
from gptcore.model.config import ModelConfig


def n_params(config: ModelConfig) -> int:
    """Return the number of parameters; the matrix shared by embedding and head counts once."""
    width = config.n_embd
    norm = 2 * width
    attention = norm + (width + 1) * 3 * width + (width + 1) * width
    mlp = norm + (width + 1) * 4 * width + (4 * width + 1) * width if config.mlp else 0
    positions = config.block_size * width if config.positions else 0
    embeddings = config.vocab_size * width + positions
    return embeddings + config.n_layer * (attention + mlp) + norm


def matmul_weights(config: ModelConfig) -> int:
    """Return the number of weights that multiply each token, those of the tied head included."""
    block = (12 if config.mlp else 4) * config.n_embd**2
    return config.n_layer * block + config.vocab_size * config.n_embd


def flops_per_token(config: ModelConfig, context_len: int) -> int:
    """Return training FLOPs (forward + backward) for one token.

    6 per weight of matrix products plus 12 * n_layer * n_embd * context_len for attention (PaLM,
    arXiv:2204.02311, appendix B): the backward pass costs twice the forward pass.

    Args:
        config: the shape of the model.
        context_len: the number of tokens attended to, in [1, config.block_size].

    Returns:
        FLOPs; a multiply-add counts as 2.

    Raises:
        ValueError: `context_len` is outside that range.
    """
    _check_length("context_len", context_len, config)
    return 6 * matmul_weights(config) + 12 * config.n_layer * config.n_embd * context_len


def training_flops(config: ModelConfig, batch_size: int, block_size: int) -> int:
    """Return the FLOPs of forward and backward pass over one batch; see `forward_flops`."""
    check_whole("batch_size", batch_size)
    _check_length("block_size", block_size, config)
    return batch_size * block_size * flops_per_token(config, block_size)


def forward_flops(config: ModelConfig, batch_size: int, block_size: int) -> int:
    """Return the FLOPs of one forward pass, a third of `training_flops`.

    Args:
        config: the shape of the model.
        batch_size: the number of sequences, at least 1.
        block_size: the number of tokens in each, in [1, config.block_size].

    Raises:
        ValueError: `batch_size` or `block_size` is outside its range.
    """
    return training_flops(config, batch_size, block_size) // 3


def forward_bytes(config: ModelConfig) -> int:
    """Return the least memory traffic of one forward pass, in bytes: it reads every fp32 weight.

    Activations are assumed to stay in caches. So the result is a lower bound of the traffic, and
    FLOPs divided by it are an upper bound of the arithmetic intensity.
    """
    return 4 * n_params(config)


def training_bytes(config: ModelConfig) -> int:
    """Return the least memory traffic of one training step with AdamW, in bytes.

    It is 10 numbers of 4 bytes per weight. Forward and backward pass each read the weight, and the
    backward pass writes its gradient. The update reads weight, gradient and two moments, and writes
    weight and moments. As in `forward_bytes`, activations are assumed to stay in caches.
    """
    return 40 * n_params(config)


def _check_length(name: str, value: int, config: ModelConfig) -> None:
    check_whole(name, value)
    if value > config.block_size:
        raise ValueError(
            f"{name} is {value}; this model reads at most block_size = {config.block_size}: "
            "shorten it or take a model that reads more"
        )

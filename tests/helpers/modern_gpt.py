"""A sound GPT of the newer kind: rotary positions, RMSNorm, SwiGLU, fewer heads of keys."""

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

N_KV_HEAD = 2


class RMSNorm(nn.Module):
    def __init__(self, n_embd):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_embd))

    def forward(self, x):
        scale = x.float().square().mean(-1, keepdim=True).add(1e-6).rsqrt()
        return (x.float() * scale).type_as(x) * self.weight


def rotate(x, positions):
    half = x.size(-1) // 2
    frequencies = 10000 ** (-torch.arange(half, device=x.device) / half)
    angles = positions[:, None].float() * frequencies
    a, b = x[..., :half], x[..., half:]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1).type_as(x)


class Attention(nn.Module):
    def __init__(self, n_embd, n_head):
        super().__init__()
        self.n_head, self.n_kv_head, size = n_head, N_KV_HEAD, n_embd // n_head
        self.q_proj = nn.Linear(n_embd, n_embd, bias=False)
        self.k_proj = nn.Linear(n_embd, N_KV_HEAD * size, bias=False)
        self.v_proj = nn.Linear(n_embd, N_KV_HEAD * size, bias=False)
        self.o_proj = nn.Linear(n_embd, n_embd, bias=False)

    def forward(self, x):
        B, T, C = x.shape  # noqa: N806
        q = self.q_proj(x).view(B, T, self.n_head, -1).transpose(1, 2)
        k = self.k_proj(x).view(B, T, self.n_kv_head, -1).transpose(1, 2)
        v = self.v_proj(x).view(B, T, self.n_kv_head, -1).transpose(1, 2)
        positions = torch.arange(T, device=x.device)
        q, k = rotate(q, positions), rotate(k, positions)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.o_proj(y.transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    def __init__(self, n_embd):
        super().__init__()
        self.gate_proj = nn.Linear(n_embd, 3 * n_embd, bias=False)
        self.up_proj = nn.Linear(n_embd, 3 * n_embd, bias=False)
        self.down_proj = nn.Linear(3 * n_embd, n_embd, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, n_embd, n_head):
        super().__init__()
        self.norm_1, self.norm_2 = RMSNorm(n_embd), RMSNorm(n_embd)
        self.attn, self.mlp = Attention(n_embd, n_head), MLP(n_embd)

    def forward(self, x):
        x = x + self.attn(self.norm_1(x))
        return x + self.mlp(self.norm_2(x))


class ModernGPT(nn.Module):
    def __init__(self, vocab_size, n_layer, n_head, n_embd):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, n_embd)
        self.layers = nn.ModuleList(Block(n_embd, n_head) for _ in range(n_layer))
        self.norm = RMSNorm(n_embd)
        self.head = nn.Linear(n_embd, vocab_size, bias=False)
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02)

    def forward(self, idx):
        x = self.embed(idx)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def make_model(vocab_size, block_size, n_layer=2, n_head=4, n_embd=32):
    return ModernGPT(vocab_size, n_layer, n_head, n_embd)

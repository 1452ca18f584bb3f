"""Models that are sound in other ways than the textbook: no check says that they have a fault."""

import pytest

from gptcore.checking.checks import check_model
from gptcore.checking.model_file import load_model_file

LOSS = "targets.reshape(-1))"
TIED = "self.lm_head.weight = self.wte.weight"
GELU = 'F.gelu(x, approximate="tanh")'
HEAD, LAST = "logits = self.lm_head(x)\n", "logits = self.lm_head(x[:, [-1], :])\n"
PADDED = "self.V, vocab_size = vocab_size, 64 * -(-vocab_size // 64)"
HIDDEN = "            logits[..., self.V :] = float('-inf')\n"
ROTARY = "q, k = rotate(q, positions), rotate(k, positions)"
CAUSAL = "is_causal=True"
ALIBI = """apart = positions[:, None] - positions
        bias = -apart * 2.0 ** -torch.arange(1, self.n_head + 1).view(-1, 1, 1)
        bias = bias.masked_fill(apart < 0, float("-inf")).to(x.dtype)"""
INIT = "                nn.init.normal_(p, std=0.02)"
MADE = "return TextbookGPT(vocab_size, block_size, n_layer, n_head, n_embd, dropout=0.1)"

TEXTBOOK = {
    "untied": ({"tying"}, [(TIED, "pass")]),
    "initialised by torch": ({"tying", "residual_scale"}, [
        (TIED, "pass"), ("nn.init.normal_(p, std=std)", "pass")]),
    "no biases": (set(), [("n_embd)\n        self.c", "n_embd, bias=False)\n        self.c"),
                          ("LayerNorm(n_embd)", "LayerNorm(n_embd, bias=False)")]),
    "exact GELU": (set(), [(GELU, "F.gelu(x)")]),
    "ReLU": ({"parity"}, [(GELU, "F.relu(x)")]),
    "SwiGLU under GPT-2's names": (set(), [(GELU, "F.silu(x) * self.gate(x)"), (
        "self.dropout = nn", "self.gate = nn.Linear(4 * n_embd, 4 * n_embd)\n"
                             "        self.dropout = nn")]),
    "parallel blocks": ({"parity"}, [
        ("x = x + attended\n", "before = x\n        x = x + attended\n"),
        ("self.ln_2(x)", "self.ln_2(before)")]),
    "scaled embeddings": ({"parity"}, [("self.wte(idx) +", "self.wte(idx) * 32**0.5 +")]),
    "logits with a soft cap": ({"parity"}, [
        (HEAD, f"{HEAD}            logits = 5 * torch.tanh(logits / 5)\n"),
        (LAST, f"{LAST}            logits = 5 * torch.tanh(logits / 5)\n")]),
    "label smoothing": ({"loss"}, [(LOSS, "targets.reshape(-1), label_smoothing=0.1)")]),
    "ignored targets": ({"loss"}, [(LOSS, "targets.reshape(-1), ignore_index=0)")]),
    "z-loss": ({"loss"}, [(LOSS, f"{LOSS} + 1e-3 * logits.logsumexp(-1).square().mean()")]),
    "bits": ({"loss"}, [(LOSS, f"{LOSS} / math.log(2)")]),
    "padded vocabulary": (set(), [("self.block_size =", f"{PADDED}\n        self.block_size =")]),
    "hidden padding": (set(), [("self.block_size =", f"{PADDED}\n        self.block_size ="),
                               (HEAD, HEAD + HIDDEN), (LAST, LAST + HIDDEN)]),
    "a mapping": (set(), [("return logits, loss, presents",
                           'return {"logits": logits, "loss": loss, "past": presents}'),
                          ("self(idx_cond)[0]", 'self(idx_cond)["logits"]')]),
    "targets required": (set(), [("targets=None, past", "targets, past"),
                                 ("self(idx_cond)", "self(idx_cond, idx_cond)")]),
    "torch's attention": ({"kv_cache"}, [("(att @ v)", "F.scaled_dot_product_attention(\n"
        "            q, k, v, is_causal=past is None,\n"
        "            dropout_p=self.p if self.training else 0.0)")]),
    "dropout by hand": ({"train_mode"}, [("return self.dropout(x)", "if not self.training:\n"
        "            return x\n        return x * (torch.rand_like(x) > 0.1) / 0.9")]),
    "a window": ({"parity"}, [("== 0)", "== 0)\n        self.mask |= "
                                          "torch.ones(block_size, block_size).tril(-5) == 1")]),
    "two layers at least": (set(), [("self.block_size = b", "assert n_layer > 1\n"
                                     "        self.block_size = b")]),
    "fixed positions": ({"graph"}, [("self.h = nn", "self.wpe.weight.requires_grad_(False)\n"
                                                "        self.h = nn")]),
    "a large negative mask": (set(), [('float("-inf")', "-1e4")]),
    "bfloat16": (set(), [(MADE, f"{MADE}.to(torch.bfloat16)")]),
    "its own sizes": ({"length", "parity"}, [("n_layer=3, n_head=4, n_embd=32", "**_sizes"), (
        MADE, "return TextbookGPT(300, 64, 2, 2, 16, dropout=0.1)")]),
}  # fmt: skip
"""Name → the checks that make a note, and the lines that are changed."""

MODERN = {
    "as it is": (set(), []),
    "tied": (set(), [("for p in self.parameters", "self.head.weight = self.embed.weight\n"
                                                  "        for p in self.parameters")]),
    "no positions": ({"positions"}, [(ROTARY, "pass")]),
    "ALiBi": (set(), [(ROTARY, ALIBI), (CAUSAL, "attn_mask=bias")]),
    "a window": (set(), [(CAUSAL, "attn_mask=positions.unfold(0, 1, 1).sub(positions).clamp(-1, 4)"
                                  ".remainder(5).lt(4)")]),
    "normed queries and keys": (set(), [(ROTARY, f"q, k = F.normalize(q), F.normalize(k)\n"
                                                 f"        {ROTARY}")]),
    "zeros to begin with": (set(), [(INIT, f"{INIT}\n        nn.init.zeros_(self.head.weight)")]),
    "scaled layers": (set(), [("self.norm_1, self", "self.g = nn.Parameter(torch.full((1,), 1e-5))"
                                                    "\n        self.norm_1, self"),
                              ("x + self.attn", "x + self.g * self.attn")]),
    "biases": (set(), [("bias=False", "bias=True")]),
    "layers that need each other": ({"positions"}, [(
        "for layer in self.layers:\n", "x = x + self.layers[1].norm_1(x)\n"
                                        "        for layer in self.layers:\n")]),
    "shifted embeddings": ({"length"}, [("x = self.embed(idx)", "x = self.embed(idx)\n"
        "        x = x + F.pad(x, (0, 0, 1, 0))[:, :-1]")]),
}  # fmt: skip


def statuses(checks, status):
    return {name for name, check in checks.items() if check.status == status}


@pytest.mark.parametrize(("notes", "changes"), TEXTBOOK.values(), ids=TEXTBOOK)
def test_a_sound_relative_of_the_textbook_has_no_fault(check, notes, changes):
    checks = check(changes)
    assert statuses(checks, "fault") == set()
    assert statuses(checks, "note") == notes


@pytest.mark.parametrize(("notes", "changes"), MODERN.values(), ids=MODERN)
def test_a_sound_model_of_the_newer_kind_has_no_fault(check, notes, changes):
    checks = check(changes, of="modern_gpt")
    assert statuses(checks, "fault") == set()
    assert statuses(checks, "note") - {"tying", "residual_scale"} == notes
    assert checks["parity"].status == "skipped"
    assert "these seven faults were not looked for" in checks["parity"].detail


PUBLISHED = {
    "GPT2": "vocab_size=vocab_size, n_positions=block_size, n_layer=n_layer, n_head=n_head, "
    "n_embd=n_embd",
    "Llama": "vocab_size=vocab_size, max_position_embeddings=block_size, intermediate_size=64, "
    "num_hidden_layers=n_layer, num_attention_heads=n_head, num_key_value_heads=2, "
    "hidden_size=n_embd",
}


@pytest.mark.parametrize(("name", "sizes"), PUBLISHED.items(), ids=PUBLISHED)
def test_models_of_transformers_have_no_fault(write, name, sizes):
    pytest.importorskip("transformers")
    model = {"GPT2": "GPT2LMHeadModel", "Llama": "LlamaForCausalLM"}[name]
    path = write(
        f"from transformers import {model}, {name}Config\n"
        "def make_model(vocab_size, block_size, n_layer, n_head, n_embd):\n"
        f"    return {model}({name}Config({sizes}))\n"
    )
    checks = {each.name: each for each in check_model(load_model_file(path))}
    assert statuses(checks, "fault") == set()
    assert {"kv_cache", "greedy", "loss"} <= statuses(checks, "ok")
    assert (checks["parity"].status == "ok") == (name == "GPT2")

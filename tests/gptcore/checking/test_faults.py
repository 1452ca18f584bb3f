"""A textbook GPT with one line broken: which check says so."""

import pytest

from gptcore.checking import learning, subject
from gptcore.checking.checks import CHECKS

MASK = 'att = att.masked_fill(self.mask[start : start + T, : start + T], float("-inf"))'
SOFTMAX = "att = F.softmax(att, dim=-1)"
LOSS = "loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1))"
TIED = "self.lm_head.weight = self.wte.weight"
NORMED = "self.ln_1(x)"
HEADS = "view(B, T, self.n_head, -1).transpose(1, 2)"
OVER = "self.ln_1((x - x.mean({0}, keepdim=True)) / (x.std({0}, False, keepdim=True) + 1e-5))"
ONES = "torch.ones(block_size, block_size)"
POSITIONS = "x = self.wte(idx) + self.wpe(pos)"
T_OF = "T = idx.size(1)  # noqa: N806"
BLOCKS = "[Block(*sizes) for _ in range(n_layer)]"

FAULTS = {
    # what the logits depend on
    "not causal": ("causality", [(MASK, "pass")]),
    "mask off by one": ("causality", [(f"{ONES})", f"{ONES}, 1)")]),
    "mask after the softmax": ("causality", [(MASK, "pass"), (
        SOFTMAX, f"{SOFTMAX}.masked_fill(self.mask[start : start + T, : start + T], 0)")]),
    "softmax over the queries": ("causality", [(SOFTMAX, "att = F.softmax(att, dim=-2)")]),
    "heads not put back": ("causality", [(".transpose(1, 2).contiguous().view(B, T, C)",
                                          ".contiguous().view(B, T, C)")]),
    "heads reshaped wrongly": ("prefix", [(HEADS, "reshape(B, self.n_head, T, -1)"), (
        ".transpose(1, 2).contiguous().view(B, T, C)", ".contiguous().view(B, T, C)")]),
    "norm over time": ("causality", [(NORMED, OVER.format(1))]),
    "statistics over the batch": ("batch", [(NORMED, OVER.format(0))]),
    "a hidden first row": ("forward", [(f"{ONES}) == 0", f"{ONES}, -1) == 0")]),
    "one wrong entry of the mask": ("causality", [(f"{ONES}) == 0)", f"{ONES}) == 0)\n"
                                                   "        self.mask[5, 6] = False")]),
    "a token sees itself alone": ("causality", [(f"torch.tril({ONES})", "torch.eye(block_size)")]),
    "a vocabulary without its last": ("forward", [(TIED, "pass"), (
        "nn.Linear(n_embd, vocab_size,", "nn.Linear(n_embd, vocab_size - 1,")]),
    # what a pass leaves behind
    "inputs changed in place": ("side_effects", [(T_OF, f"{T_OF}\n        idx[:, 0] = 0")]),
    "targets changed in place": ("side_effects", [(
        LOSS, f"targets[:, 0] = 0\n            {LOSS}")]),
    "training mode in evaluation": ("side_effects", [(LOSS, f"self.train()\n            {LOSS}")]),
    "a seed in each pass": ("side_effects", [(T_OF, f"{T_OF}\n        torch.manual_seed(1)")]),
    "a state that stays": ("eval_repeats", [(
        POSITIONS, f"{POSITIONS} + getattr(self, 'kept', 0)\n"
                   "        self.kept = x.detach().mean((0, 1))")]),
    # positions
    "position 0 for all": ("positions", [("self.wpe(pos)", "self.wpe(torch.zeros_like(pos))")]),
    # the loss
    "shifted twice": ("loss", [(LOSS, "loss = F.cross_entropy(logits[:, :-1].reshape(-1, "
                                      "logits.size(-1)), targets[:, 1:].reshape(-1))")]),
    "wrong view": ("loss", [(LOSS, "loss = F.cross_entropy(logits.view(idx.size(0), -1, T), "
                                   "targets)")]),
    "batch and time swapped": ("loss", [("logits.view(-1, logits.size(-1))",
                                         "logits.transpose(0, 1).reshape(-1, logits.size(-1))")]),
    "sum for mean": ("doubled_batch", [("targets.reshape(-1))",
                                        "targets.reshape(-1), reduction='sum')")]),
    "inputs as targets": ("loss", [("targets.reshape(-1))", "idx.reshape(-1))")]),
    "standard deviation 1": ("initial_loss", [(
        TIED, f"{TIED}\n        nn.init.normal_(self.wte.weight)")]),
    "softmax before cross-entropy": ("probabilities", [(
        LOSS, f"logits = logits.softmax(-1)\n            {LOSS}")]),
    "softmax in the loss": ("loss", [("logits.view(-1, logits.size(-1))",
                                      "logits.softmax(-1).view(-1, logits.size(-1))")]),
    "logits without a softmax": ("loss", [(LOSS, "loss = F.nll_loss(logits.flatten(0, 1), "
                                                 "targets.flatten())")]),
    "a softmax over time": ("loss", [(LOSS, "loss = F.nll_loss(logits.log_softmax(1).flatten(0, 1)"
                                            ", targets.flatten())")]),
    "ReLU behind the head": ("probabilities", [("logits = self.lm_head(x)\n",
                                                "logits = F.relu(self.lm_head(x))\n")]),
    # gradients
    "a detached embedding that is tied": ("finite_differences", [(
        POSITIONS, "x = self.wte(idx).detach() + self.wpe(pos)")]),
    "detached in training alone": ("graph", [(
        "x = self.ln_f(x)", "x = self.ln_f(x.detach() if self.training else x)")]),
    "a mask that is a parameter": ("graph", [(
        f'self.register_buffer("mask", torch.tril({ONES}) == 0)',
        f"self.m = nn.Parameter(torch.tril({ONES}))"), ("self.mask[", "(self.m == 0)[")]),
    "nothing can be trained": ("graph", [(TIED, f"{TIED}\n        self.requires_grad_(False)")]),
    "blocks in a plain list": ("graph", [(f"nn.ModuleList({BLOCKS})", BLOCKS)]),
    "a block is skipped": ("graph", [("enumerate(self.h):", "enumerate(self.h[1:]):")]),
    "unused wpe": ("graph", [(POSITIONS, "x = self.wte(idx)")]),
    "unused ln_f": ("graph", [("x = self.ln_f(x)", "pass")]),
    "detached attention": ("graph", [("x = x + attended", "x = x + attended.detach()")]),
    "detached stream": ("finite_differences", [("x = x + attended", "x = x.detach() + attended")]),
    "no gradient at all": ("graph", [(LOSS, f"{LOSS}.detach()")]),
    # parameters
    "one block n times": ("registered_once", [(BLOCKS, "[Block(*sizes)] * n_layer")]),
    "tied by copy": ("tying", [(
        TIED, "self.lm_head.weight = nn.Parameter(self.wte.weight.clone())")]),
    "tied by data": ("tying", [(TIED, "self.lm_head.weight.data = self.wte.weight.data")]),
    "biases left out": ("optimizer", [('{"params": rest, "weight_decay": 0.0}', "")]),
    "parameters held twice": ("optimizer", [('{"params": decay,', '{"params": decay * 2,')]),
    "parameters in two groups": ("optimizer", [("if p.dim() < 2]", "if p.dim() < 3]")]),
    # modes
    "dropout in evaluation": ("eval_repeats", [("F.dropout(att, self.p, training=self.training)",
                                                "F.dropout(att, self.p)")]),
    "batch norm": ("train_mode", [("self.ln_f = nn.LayerNorm(n_embd)",
                                   "self.ln_f = nn.BatchNorm1d(n_embd)"),
                                  ("x = self.ln_f(x)", "x = self.ln_f(x.mT).mT")]),
    # writing
    "reads position 0": ("inference_path", [("x[:, [-1], :]", "x[:, [0], :]")]),
    "crops the wrong end": ("greedy", [(
        "idx[:, -self.block_size :]", "idx[:, : self.block_size]")]),
    "new token in front": ("greedy", [("(idx, torch.multinomial(probs, num_samples=1))",
                                       "(torch.multinomial(probs, num_samples=1), idx)")]),
    "positions begin again": ("kv_cache", [(
        "torch.arange(start, start + T,", "torch.arange(0, T,")]),
    "cached keys of the wrong layer": ("kv_cache", [("past[i]", "past[0]")]),
    "training mode after writing": ("greedy", [("        return idx\n", "        self.train()\n"
                                                                       "        return idx\n")]),
    "a text cut too short": ("greedy", [("-self.block_size :]", "1 - self.block_size :]")]),
    # parity alone
    "no division": ("parity", [(" / math.sqrt(k.size(-1))", "")]),
    "division by sqrt(C)": ("parity", [("math.sqrt(k.size(-1))", "math.sqrt(C)")]),
    "a token does not see itself": ("parity", [(SOFTMAX, f"{SOFTMAX}.nan_to_num()"), (
        f"{ONES}) == 0", f"{ONES}, -1) == 0")]),
    "keys are queries": ("parity", [("v = v.view", "k = q\n        v = v.view")]),
    "no residual": ("parity", [("x = x + attended", "x = attended")]),
    "post-norm": ("parity", [("self.attn(self.ln_1(x), past)", "self.attn(x, past)"),
                             ("x = x + attended", "x = self.ln_1(x + attended)"),
                             ("x = x + self.mlp(self.ln_2(x))", "x = self.ln_2(x + self.mlp(x))")]),
    "no GELU": ("parity", [('x = F.gelu(x, approximate="tanh")', "pass")]),
}  # fmt: skip


@pytest.mark.parametrize(("name", "changes"), FAULTS.values(), ids=FAULTS)
def test_a_broken_line_is_found(check, name, changes):
    checks = check(changes, only={name})
    assert checks[name].status == "fault"
    assert checks[name].means.endswith(".")


def test_the_textbook_has_no_fault_and_nothing_is_left_out(check, monkeypatch):
    monkeypatch.setattr(learning, "STEPS", 100)
    checks = check(train=True)
    assert checks.keys() == CHECKS.keys()
    assert {each.status for each in checks.values()} == {"ok"}


def test_training_on_independent_tokens_finds_a_leak(check, monkeypatch):
    monkeypatch.setattr(learning, "STEPS", 100)
    checks = check([(f"{ONES})", f"{ONES}, 1)")], train=True, only={"independent_ids"})
    assert checks["independent_ids"].status == "fault"
    assert checks.keys() == {"forward", "side_effects", "eval_repeats", "independent_ids"}


def test_a_batch_that_cannot_be_learned_is_a_fault(check, monkeypatch):
    monkeypatch.setattr(learning, "STEPS", 40)
    checks = check([(LOSS, f"{LOSS} * 0")], train=True, only={"overfitting"})
    assert checks["overfitting"].status == "fault"


def test_a_large_model_says_which_checks_were_left_out(check, monkeypatch):
    monkeypatch.setattr(subject, "LARGE", 1000)
    left_out = {"finite_differences", "parity", "independent_ids", "overfitting"}
    checks = check(train=True, only={"causality", *left_out})
    skipped = {name: each.detail for name, each in checks.items() if each.status == "skipped"}
    assert skipped.keys() == left_out
    assert all("parameters, too many" in detail for detail in skipped.values())


CAUSES = {
    "no division": "without the division by sqrt(head size)",
    "division by sqrt(C)": "divided by sqrt(n_embd)",
    "a token does not see itself": "no token sees itself",
    "keys are queries": "queries and keys are the same",
    "no residual": "without the residual around attention",
    "post-norm": "norms after the residual sums",
    "no GELU": "an MLP without an activation",
}


@pytest.mark.parametrize(("name", "said"), CAUSES.items(), ids=CAUSES)
def test_parity_names_the_difference(check, name, said):
    assert said in check(FAULTS[name][1], only={"parity"})["parity"].detail


def test_parity_names_two_differences_at_once(check):
    changes = [*FAULTS["no GELU"][1], *FAULTS["division by sqrt(C)"][1]]
    found = check(changes, only={"parity"})["parity"]
    assert CAUSES["no GELU"] in found.detail
    assert CAUSES["division by sqrt(C)"] in found.detail


def test_dropout_in_evaluation_trips_no_other_check(check):
    checks = check(FAULTS["dropout in evaluation"][1])
    assert {name for name, each in checks.items() if each.status != "ok"} == {"eval_repeats"}


NOISE = [("return self.dropout(x)", "return x * (torch.rand_like(x) > 0.1) / 0.9")]


def test_dropout_by_hand_in_evaluation_hides_no_other_fault(check):
    checks = check([*NOISE, *FAULTS["not causal"][1], *FAULTS["shifted twice"][1]])
    found = {name for name, each in checks.items() if each.status == "fault"}
    assert found == {"eval_repeats", "causality", "prefix", "loss", "kv_cache"}
    assert "random" in checks["eval_repeats"].means


def test_several_side_effects_are_all_told(check):
    changes = [*FAULTS["targets changed in place"][1], *FAULTS["a seed in each pass"][1]]
    detail = check(changes, only=())["side_effects"].detail
    assert "changes the targets" in detail
    assert "sets the global seed" in detail


def test_a_model_that_turns_training_mode_on_trips_no_other_check(check):
    checks = check(FAULTS["training mode in evaluation"][1])
    assert {name for name, each in checks.items() if each.status != "ok"} == {"side_effects"}


def test_generate_that_trains_hides_no_wrong_text(check):
    changes = [*FAULTS["training mode after writing"][1], *FAULTS["crops the wrong end"][1]]
    detail = check(changes, only={"greedy"})["greedy"].detail
    assert "reads the first 16 tokens" in detail
    assert "in training mode" in detail


NOTES = {
    "two matrices": ("tying", [(TIED, "pass")]),
    "unscaled projections": ("residual_scale", [(" / math.sqrt(2 * n_layer)", "")]),
    "frozen blocks": ("graph", [(TIED, f"{TIED}\n        self.h.requires_grad_(False)")]),
    "a seed in the model": ("side_effects", [("self.block_size = block", "torch.manual_seed(1)\n"
                                              "        self.block_size = block")]),
    "a token too many": ("greedy", [("range(max_new_tokens)", "range(max_new_tokens + 1)")]),
    "a text longer than the block": ("greedy", [("idx[:, -self.block_size :]", "idx")]),
    "positions wrap around": ("length", [
        ("self.wpe(pos)", "self.wpe(pos % self.block_size)"), (f"{ONES})", "torch.ones(99, 99))"), (
        "assert start + T <= self.block_size", "assert True")]),
}  # fmt: skip


@pytest.mark.parametrize(("name", "changes"), NOTES.values(), ids=NOTES)
def test_what_may_be_meant_is_a_note(check, name, changes):
    found = check(changes, only={name})[name]
    assert found.status == "note"
    assert found.means.endswith(".")


def test_an_unknown_check_is_refused(check):
    with pytest.raises(ValueError, match="'size' is no check: choose among forward"):
        check(only={"size"})


def test_a_signal_that_ends_the_program_is_no_fault_of_the_model(check):
    with pytest.raises(SystemExit):
        check([(LOSS, "raise SystemExit(143)")], only={"loss"})

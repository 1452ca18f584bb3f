"""The check that compares a model with GPT-2 on the same weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations

from torch import Tensor

from gptcore.checking.model_file import is_transformers
from gptcore.checking.reference import DIFFERENCES, WINDOWS, logits_of
from gptcore.checking.subject import SIZES, Subject, difference
from gptcore.checking.verdict import Verdict, fault, note, ok, skipped

EQUAL = 0.02
"""A difference of logits, in units of their spread, below which two models are the same."""
INPUT_FIRST = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")
"""`transformers` stores these as (in, out); `nn.Linear` has (out, in)."""
GELUS = {"tanh": "GELU by tanh", "none": "exact GELU"}
NOT_LOOKED_FOR = (
    "the division of attention by sqrt(head size), or by sqrt(n_embd) in its place; a mask that "
    "hides each token from itself; keys that are queries; a missing residual; norms after the "
    "sums; a missing GELU"
)


def parity(subject: Subject) -> Verdict:
    """With the same weights, the model computes what GPT-2 computes."""
    if subject.is_large:
        return skipped(f"the model has {subject.n_params:,} parameters, too many for this check")
    if subject.no_noise:
        return skipped("random numbers of the model were replaced by constants")
    weights = layout(subject)
    if weights is None:
        return skipped(
            "the parameters have not the names and shapes of GPT-2's (those of nanoGPT and of "
            f"transformers are known), so these seven faults were not looked for: {NOT_LOOKED_FOR}"
        )
    x = subject.ids(1)
    found = subject.logits(x)[..., : subject.n_vocab]
    weights["lm_head.weight"] = weights.get("lm_head.weight", weights["wte.weight"])
    weights["lm_head.weight"] = weights["lm_head.weight"][: subject.n_vocab]  # without padding
    heads = _heads(subject)
    apart = {gelu: difference(found, logits_of(weights, x, heads, gelu=gelu)) for gelu in GELUS}
    gelu = min(apart, key=lambda name: apart[name])
    if apart[gelu] <= max(EQUAL, subject.tolerance):
        return ok(f"with the same weights the logits are those of GPT-2 with {GELUS[gelu]}")
    return _explained(weights, x, found, heads, gelu)


def _explained(
    weights: dict[str, Tensor], x: Tensor, found: Tensor, heads: int, gelu: str
) -> Verdict:
    reference = logits_of(weights, x, heads, gelu=gelu)
    apart = difference(found, reference)
    detail = f"with the same weights the logits differ from GPT-2's by {apart:.2g} of their spread"
    for names in _guesses():
        if difference(found, logits_of(weights, x, heads, gelu=gelu, but=names)) <= EQUAL:
            known = [DIFFERENCES[name] for name in names]
            status = "fault" if any(each[0] == "fault" for each in known) else "note"
            words = " and ".join(each[1] for each in known)
            means = " ".join(each[2] for each in known)
            return Verdict(status, f"{detail}; they are those of {words}", means)
    if _is_function_of(found, reference):
        return note(
            f"{detail}; but each grows with GPT-2's",
            "The logits are those of GPT-2 after a function of single numbers, such as a soft cap "
            "or a temperature.",
        )
    divisors = [h for h in range(1, 33) if weights["wte.weight"].shape[1] % h == 0 and h != heads]
    for other in divisors:
        if difference(found, logits_of(weights, x, other, gelu=gelu)) <= EQUAL:
            return note(
                f"{detail}; they are those of {other} heads in place of {heads}",
                "make_model was asked for another number of heads than the model has.",
            )
    return fault(
        detail,
        "The names and shapes are GPT-2's and the computation is not. Compare attention and block "
        "line by line with att = (q @ k.transpose(-2, -1)) / math.sqrt(k.size(-1)), masked, then "
        "F.softmax(att, dim=-1) @ v, and x = x + attn(ln_1(x)), x = x + mlp(ln_2(x)). If it is "
        "another design on purpose, rename the parameters that differ.",
    )


def _guesses() -> Iterator[tuple[str, ...]]:
    yield from ((name,) for name in DIFFERENCES)
    yield from combinations([name for name in DIFFERENCES if name not in WINDOWS], 2)


def _is_function_of(found: Tensor, reference: Tensor) -> bool:
    """Return whether larger logits of the reference are larger logits of the model, everywhere."""
    order = reference.flatten().argsort()
    steps = found.flatten()[order].diff()
    return float(steps.min()) > -EQUAL / 10 * float(found.std())


def _heads(subject: Subject) -> int:
    """Return the number of heads: that of the model's config, else the one asked for."""
    config = getattr(subject.model, "config", None)
    found = getattr(config, "n_head", None)
    return found if isinstance(found, int) and found > 0 else SIZES["n_head"]


def layout(subject: Subject) -> dict[str, Tensor] | None:
    """Return the weights under GPT-2's names, matrices as (out, in); None for another layout."""
    weights = {}
    named = dict(subject.model.named_parameters(remove_duplicate=False))
    suffix = "wte.weight"
    prefix = next((name.removesuffix(suffix) for name in named if name.endswith(suffix)), "")
    for name, weight in named.items():
        is_head = name.endswith("lm_head.weight")
        name = "lm_head.weight" if is_head else name.removeprefix(prefix)
        value = weight.detach().double()
        if name.endswith(INPUT_FIRST) and is_transformers(subject.model):
            value = value.T
        weights[name] = value
    if "wte.weight" not in weights or weights["wte.weight"].dim() != 2:
        return None
    n_vocab, channels = weights["wte.weight"].shape
    layers = {int(name.split(".")[1]) for name in weights if name.startswith("h.")}
    wanted = {"wpe.weight": None, "ln_f.weight": (channels,), "wte.weight": (n_vocab, channels)}
    for layer in range(len(layers)):
        wanted |= {
            f"h.{layer}.{name}.weight": shape
            for name, shape in (
                ("ln_1", (channels,)),
                ("attn.c_attn", (3 * channels, channels)),
                ("attn.c_proj", (channels, channels)),
                ("ln_2", (channels,)),
                ("mlp.c_fc", (4 * channels, channels)),
                ("mlp.c_proj", (channels, 4 * channels)),
            )
        }
    allowed = wanted | {name.replace(".weight", ".bias"): None for name in wanted}
    allowed |= {"lm_head.weight": None}
    if not layers or not wanted.keys() <= weights.keys() <= allowed.keys():
        return None
    if any(shape and tuple(weights[name].shape) != shape for name, shape in wanted.items()):
        return None
    return weights if math.isfinite(float(weights["wte.weight"].sum())) else None

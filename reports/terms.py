"""The words of the field, each with one sentence: shown at their first use and in the glossary.

A page passes its prose through `Explainer.explain`, in the order in which it is read. The sizes of
the models are those of `gptcore.model.config`, which a report may not import; a test compares them.
"""

from __future__ import annotations

import re
from functools import cache

from markupsafe import Markup, escape

from gptcore import plain_text
from reports import markdown

MODELS = {
    "Model 1": "a token embedding of width 128 and nothing else, 6.43 M weights",
    "Model 2": "Model 1 with positions and 1 layer of attention with 1 head, width 128, "
    "6.53 M weights",
    "Model 3": "1 layer with 4 heads and an MLP, width 128, 6.66 M weights",
    "Model 4": "4 layers with 4 heads, width 128, 7.26 M weights",
    "Model 5": "the shape of GPT-2 small with a context of 256 tokens: 12 layers with 12 heads, "
    "width 768, 124 M weights",
}
TERMS = MODELS | {
    "tokens/s": "tokens that the model reads in one second, those of the whole batch together",
    "token": "a piece of text with a number, on average about four characters of English",
    "batch": "the windows of text that a model reads in one step",
    "fp32": "numbers of 32 bits, the usual precision of training",
    "bf16": "numbers of 16 bits with the range of fp32 and fewer digits; weights stay in fp32",
    "FLOP/s": "floating-point operations in one second; a multiplication with its addition is two",
    "MFU": "model FLOP/s utilisation: the share of the measured peak of matrix products that the "
    "model reaches",
    "share of peak": "the operations a second of a case, by formula, over those of the fastest "
    "matrix product measured on this machine",
    "roofline": "the highest speed that the peak of matrix products and the rate of memory allow",
    "ceiling": "the highest rate of one kind of work that was measured on this machine",
    "step": "one update of the weights: a batch, the loss, its gradients and the optimizer",
    "forward pass": "computing the loss of a batch, without gradients",
    "output layer": "the matrix product that turns the last activations into a score for each "
    "token of the vocabulary",
    "optimizer state": "two numbers for each weight that the optimizer AdamW keeps",
    "round": "one timed call of a case",
    "process": "one start of Python; another one places memory and code anew",
    "warm-up": "calls before the timing, until the time of a call is steady",
    "interleaved": "timed in turns, one call of each side after the other",
    "95 % interval": "a range from the data; of 100 such ranges, about 95 contain the true value",
    "margin": "the difference that counts as none",
    "ambiguous": "said of a comparison that shows neither a change nor equality",
    "noisy": "said of a case whose rounds differ so much that their median is not known well",
    "drifting": "said of a case whose time rises, falls or jumps while it is measured",
    "target": "a token that the model is to predict",
    "window": "a stretch of text that the model reads at once, T tokens long",
    "sampler": "what chooses the windows of the text, in which order and how often",
    "epoch-equivalent": "as many windows as it takes to show every target once on average",
    "DataLoader": "PyTorch's own way to draw batches from a data set",
    "drop_last": "the option of a DataLoader that leaves out the last batch if it is incomplete",
    "coverage": "the share of the targets that were shown at least once",
    "seed": "the number that a random generator starts from; another one gives another run",
    "nats": "the unit of a loss with natural logarithms; 1 nat is 1.443 bits",
    "bits per byte": "the loss on a text in bits over its bytes, which compares models of "
    "different vocabularies",
    "test loss": "the loss on a part of the text that was not trained on",
    "unigram": "a model that knows how frequent each token is and nothing else",
    "Holm": "an adjustment of p-values for their number, so that many tests raise no false alarm",
    "sign-flip test": "an exact test of paired differences by changing their signs",
    "false alarm": "a comparison of a thing with its own copy that finds a difference",
    "scaling law": "a formula of the loss by the number of weights and of tokens trained on",
    "held-out": "left out of the fit, to test the prediction",
    "peer": "the same model in another package",
    "ablation": "gptcore without one of its optimisations, timed beside gptcore",
    "KV cache": "keys and values of the tokens read so far, kept so that one more token costs "
    "the work of one",
    "fine-tuning": "training on from published weights",
    "ledger": "the file records.jsonl of a run, one record on each line",
}
"""Term → what it is, as a clause."""


@cache
def _pattern() -> re.Pattern[str]:
    """Return what finds a term: whole words, the longest first, a plural as well."""
    names = sorted(TERMS, key=len, reverse=True)
    either = "|".join(re.escape(name).replace(r"\ ", "[ \u00a0]") for name in names)
    return re.compile(rf"(?<![\w/.-])({either})(?:es|s)?(?![\w/-]|\.\w)")


class Explainer:
    """Explains each term where it is first used on a page."""

    def __init__(self, output_format: str) -> None:
        self.is_html = output_format == "html"
        self.used: list[str] = []

    def explain(self, text: object) -> Markup:
        """Return a text of unknown origin as markup, with its new terms explained."""
        shown = plain_text.visible(str(text), keep="\n\t")
        parts, end = [], 0
        for found in _pattern().finditer(shown):
            name = found[1].replace("\u00a0", " ")
            before = shown[: found.start()]
            if name in self.used or before.count("(") > before.count(")"):  # no brackets in others
                continue
            self.used.append(name)
            parts += [(shown[end : found.start()], ""), (found[0], name)]
            end = found.end()
        parts.append((shown[end:], ""))
        if self.is_html:
            return Markup("").join(self._html(*part) for part in parts)
        told = (f"{piece} ({TERMS[name]})" if name else piece for piece, name in parts)
        return markdown.escape("".join(told))

    def _html(self, text: str, name: str) -> Markup:
        if not name:
            return escape(text)
        tip = f"tip{self.used.index(name) + 1}"
        return Markup(
            '<dfn tabindex="0" aria-describedby="{tip}">{text}'
            '<span class="tip" id="{tip}"> ({meaning})</span></dfn>'
        ).format(tip=tip, text=text, meaning=TERMS[name])

    def glossary(self) -> list[tuple[str, str]]:
        """Return every term that the page has explained, with its meaning, by name."""
        return [(name, TERMS[name]) for name in sorted(self.used, key=str.lower)]

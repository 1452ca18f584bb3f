"""The texts that a model writes at each evaluation of its training, and how they are written.

Each text continues the start of the test part by draws from the model's probabilities as they are
(temperature 1, all tokens). The form of the texts is measured beside slices of the training text
(`gptcore.evaluation.text_form`), and so are two controls of the same length: tokens drawn by their
frequency in the training text, and by how often they follow the token before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gptcore.data.tokenizer import CompactVocabulary, decode
from gptcore.evaluation.text_form import Measured, compare_form, sample_bigrams, sample_unigrams
from gptcore.evaluation.text_form_copies import Ints
from gptcore.model.generation import generate
from gptcore.model.gpt import GPT

PROMPT_TOKENS, NEW_TOKENS = 8, 128
CONTROLS = {"unigram": sample_unigrams, "bigram": sample_bigrams}
SHOWN = ("value", "z", "share_below", "share_above", "usual_share")
"""Of each measure, what is recorded."""


@dataclass(frozen=True)
class Texts:
    """The texts of one training run.

    Attributes:
        train_ids: tokens that the model is trained on.
        prompt: tokens that each text continues.
        vocabulary: of compact ids; None for GPT-2's own.
        seed: of the draws.
        device: where the model is.
    """

    train_ids: Ints
    prompt: Tensor
    vocabulary: CompactVocabulary | None
    seed: int
    device: torch.device

    def sample(self, model: GPT) -> list[int] | None:
        """Return the ids of a text that the model writes; a model that diverged writes none."""
        try:
            ids = generate(model, self.prompt, NEW_TOKENS, seed=self.seed, device=self.device)
        except ValueError:  # the logits are not finite
            return None
        new: list[int] = ids[len(self.prompt) :].tolist()
        return new

    def series(self, curve: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        """Return the series `generated` and `form_curve` of a run.

        Args:
            curve: one row for each evaluation, with `step` and `ids`, the result of `sample`.
        """
        written = {row["step"]: row["ids"] for row in curve}
        steps = max(written)
        prompt = self._decode(self.prompt.numpy())
        generated = [
            {
                "when": {0: "before", steps: "after"}.get(step, f"step {step}"),
                "prompt": prompt,
                "text": None if ids is None else self._decode(ids),
            }
            for step, ids in sorted(written.items())
        ]
        texts: dict[tuple[str, int | None], Ints] = {
            ("model", step): np.array(ids) for step, ids in sorted(written.items()) if ids
        }
        for name, draw in CONTROLS.items():
            texts[name, None] = draw(self.train_ids, NEW_TOKENS, self.seed)
        measured = compare_form(list(texts.values()), self.train_ids, self._decode)
        rows = [
            _row(source, step, measure)
            for (source, step), measures in zip(texts, measured, strict=True)
            for measure in measures
        ]
        return {"generated": generated, "form_curve": rows}

    def _decode(self, ids: Any) -> str:
        return decode(ids if self.vocabulary is None else self.vocabulary.decode(ids))


def _row(source: str, step: int | None, measured: Measured) -> dict[str, Any]:
    """Return the row of one measure in the series `form_curve`."""
    values = {name: getattr(measured, name) for name in SHOWN}
    return {"source": source, "step": step, "measure": measured.name, **values}

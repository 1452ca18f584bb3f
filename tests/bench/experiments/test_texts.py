"""The texts of a training run: what is written, kept, and measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.experiments.texts import CONTROLS, NEW_TOKENS, Texts
from bench.ledger.checks import check_row
from gptcore.data.tokenizer import CompactVocabulary, decode, encode
from gptcore.evaluation.text_form import MEASURES, compare_form
from gptcore.model.config import ModelConfig
from gptcore.model.generation import generate
from gptcore.model.gpt import GPT

TEXT = " ".join(f"The {i * i % 83}rd fox ran.\n" for i in range(400))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def texts() -> Texts:
    ids = encode(TEXT)
    vocabulary = CompactVocabulary.from_ids(ids)
    compact = vocabulary.encode(ids)
    return Texts(compact[:-8], torch.from_numpy(compact[-8:]), vocabulary, 0, CPU)


@pytest.fixture(scope="module")
def model(texts: Texts) -> GPT:
    assert texts.vocabulary
    shape = ModelConfig(texts.vocabulary.size, block_size=8, n_layer=1, n_head=1, n_embd=4)
    return GPT(shape, seed=0)


def test_texts_are_measured_as_the_library_measures_them(texts: Texts, model: GPT) -> None:
    ids = texts.sample(model)
    assert ids == generate(model, texts.prompt, NEW_TOKENS, seed=0, device=CPU)[8:].tolist()
    series = texts.series([{"step": step, "ids": ids, "loss": 1.0} for step in (0, 20, 10)])
    assert [row["when"] for row in series["generated"]] == ["before", "step 10", "after"]
    for name, rows in series.items():
        for row in rows:
            check_row(name, row)
    assert texts.vocabulary
    assert series["generated"][0]["text"] == decode(texts.vocabulary.decode(np.array(ids)))
    ((*expected,),) = compare_form([np.array(ids)], texts.train_ids, texts._decode)
    rows = [row for row in series["form_curve"] if row["step"] == 10]
    assert [row["measure"] for row in rows] == list(MEASURES)
    assert [(row["value"], row["z"]) for row in rows] == [(m.value, m.z) for m in expected]
    controls = [row["source"] for row in series["form_curve"] if row["step"] is None]
    assert controls == [name for name in CONTROLS for _ in MEASURES]


def test_a_model_that_diverged_writes_no_text(texts: Texts, model: GPT) -> None:
    broken = GPT(model.config, seed=1)
    torch.nn.init.constant_(next(broken.parameters()), float("nan"))
    assert texts.sample(broken) is None
    series = texts.series([{"step": 3, "ids": None}])
    assert series["generated"][0]["text"] is None
    assert {row["source"] for row in series["form_curve"]} == set(CONTROLS)


def test_a_text_leaves_the_generator_of_training_as_it_is(texts: Texts, model: GPT) -> None:
    before = torch.get_rng_state()
    texts.sample(model)
    assert np.array_equal(before, torch.get_rng_state())

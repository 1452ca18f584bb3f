"""The words of the field: each explained once, where it is first used, and true to the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptcore.model.config import PRESETS
from gptcore.model.flops import n_params
from reports import load, page, words
from reports.terms import MODELS, TERMS, Explainer
from tests.helpers.ledgers import standard_ledger, write_ledger


def test_term_is_explained_at_its_first_use_alone() -> None:
    explain = Explainer("html").explain
    first = explain("The roofline is a bound.")
    assert TERMS["roofline"] in first
    assert 'aria-describedby="tip1"' in first
    assert explain("The roofline again.") == "The roofline again."


def test_term_in_markdown_is_explained_in_brackets() -> None:
    text = Explainer("md").explain("It was noisy.")
    assert text == f"It was noisy ({TERMS['noisy']})."


def test_term_is_not_explained_inside_brackets() -> None:
    explainer = Explainer("md")
    assert explainer.explain("Slow (noisy).") == "Slow (noisy)."
    assert TERMS["noisy"] in explainer.explain("A (b) noisy case.")


@pytest.mark.parametrize("text", ["GPT-2", "non-target", "targets.py", "stepwise", "test_step"])
def test_part_of_a_word_is_no_term(text: str) -> None:
    assert Explainer("html").explain(text) == text


def test_longest_term_is_explained() -> None:
    explainer = Explainer("html")
    explainer.explain("900 tokens/s in two steps")
    assert explainer.used == ["tokens/s", "step"]


def test_explained_text_stays_text() -> None:
    made = Explainer("html").explain("<b>bf16</b> \u202e")
    assert made.startswith("&lt;b&gt;<dfn")
    assert made.endswith("&lt;/b&gt; \\u202e")


@pytest.mark.parametrize("name", MODELS)
def test_models_are_as_large_as_they_are_said_to_be(name: str) -> None:
    config, told = PRESETS[name.replace("Model ", "model")], MODELS[name]
    assert f"{words.si(n_params(config), '')} weights".replace("\u00a0", " ") in told
    if config.positions and name != "Model 2":
        layers = words.count(config.n_layer, "layer")
        assert f"{layers} with {words.count(config.n_head, 'head')}" in told
    assert f"width {config.n_embd}" in told


def test_models_of_a_page_are_defined_before_all_figures(tmp_path: Path) -> None:
    run = load.Run.read(write_ledger(tmp_path / "run", standard_ledger()), "run")
    text, _ = page.render([run], "html")
    assert text.index(MODELS["Model 5"]) < text.index("<figure>")
    assert text.count(f"({MODELS['Model 5']})") == 1
    assert f"<dt>Model 5</dt><dd>{MODELS['Model 5']}</dd>" in text

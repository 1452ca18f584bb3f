"""The words for arms of experiments, from the settings that a case id writes."""

import pytest

from bench.suite.experiments import two_by_two
from bench.suite.training_experiments import STUDY_EXPERIMENTS
from gptcore.model.config import PRESETS
from reports import words
from reports.labels import SETTINGS, SIDES


@pytest.mark.parametrize(
    ("label", "told"),
    [
        ("random_replacement", "random windows"),
        ("shuffled_blocks-init_normal", "DataLoader, shuffled, standard normal weights"),
        ("sequential-dataloader", "DataLoader, unshuffled (torch's own)"),
        ("random_replacement-sampler", "random windows"),
        ("sampler", "gptcore's own"),
        ("share0.01", "1/100 of the text"),
        ("share1", "all of the text"),
        ("lr1e-05-decay0.3", "learning rate 1e-05, weight decay 0.3"),
        ("order3-block2of5", "order 3, tested on block 2 of 5"),
        ("L4-H4-C128-positions-mlp-lr0.005", "Model 4, learning rate 0.005"),
        ("a+b", "the mean of (a; b)"),
        ("shuffled_once+rechunked_once", "one order for all epochs"),
        ("shuffled_once+shuffled_blocks", "fixed blocks"),
        (None, "arm not recorded"),
    ],
)
def test_arm_in_words(label, told):
    assert words.arm(label) == told


def test_arm_inside_a_sentence_names_a_dataloader_as_prose_does():
    assert words.arm_in_prose("sequential") == words.sampler_in_prose("sequential")
    assert words.arm_in_prose("random_replacement") == words.sampler_in_prose("random_replacement")


def test_models_are_named_by_the_shapes_of_their_presets():
    for i in range(1, 6):
        shape = PRESETS[f"model{i}"]
        label = (
            f"L{shape.n_layer}-H{shape.n_head}-C{shape.n_embd}"
            f"-{'' if shape.positions else 'no_'}positions-{'' if shape.mlp else 'no_'}mlp"
        )
        assert SETTINGS[label] == f"Model {i}"


def test_both_factors_of_each_two_by_two_design_have_names():
    main_effects = two_by_two()[:2]
    designs = [x for x in STUDY_EXPERIMENTS if x.comparisons == two_by_two()]
    assert len(designs) == 3
    for design in designs:
        names = [arm["sampler"] for arm in design.arms]
        for side in (side for pair in main_effects for side in pair):
            assert frozenset(names[i] for i in side) in SIDES

"""Published runs, where their tables are: beside the checkout, or in GPTCORE_SCALING_TABLES."""

import os
from pathlib import Path

import pytest

from gptcore.scaling import (
    Cut,
    Split,
    allocate,
    borrow,
    drop_largest,
    evaluate,
    fit,
    fit_repeated,
    one_family,
    read_table,
)
from tests.helpers.checkout import ROOT

BESIDE = ROOT.parent / "shared" / "scaling"
TABLES = Path(os.environ.get("GPTCORE_SCALING_TABLES", BESIDE))
pytestmark = pytest.mark.skipif(
    not (TABLES / "scaling_dev.csv.gz").exists(), reason="the tables of published runs are not here"
)
HALF = Cut(last_share=0.5)


@pytest.fixture(scope="module")
def chinchilla():
    return drop_largest(read_table(TABLES / "chinchilla_epoch.csv.gz"), 5)


@pytest.fixture(scope="module")
def family():
    table = read_table(TABLES / "scaling_dev.csv.gz")
    return lambda name: one_family(table, name)


def test_chinchilla_is_reproduced(chinchilla):
    law = fit(chinchilla, bootstraps=300)
    assert law.objective <= 0.00101828
    assert law.parameters["E"] == pytest.approx(1.8172, abs=1e-3)
    assert law.parameters["alpha"] == pytest.approx(0.3473, abs=5e-4)
    assert law.parameters["beta"] == pytest.approx(0.3672, abs=5e-4)
    assert law.sd["alpha"] == pytest.approx(0.0152, rel=0.2)
    assert law.sd["beta"] == pytest.approx(0.020, rel=0.2)
    best = allocate(law, 5.88e23)
    assert best.exponent == pytest.approx(0.514, abs=0.019)
    assert best.tokens / best.params == pytest.approx(18, abs=1)


@pytest.mark.parametrize(("models", "are"), [(5, 5.20), (6, 0.81), (7, 2.69)])
def test_errors_that_choshen_et_al_published_are_reproduced(family, models, are):
    result = evaluate(family("gpt3"), Split(models=models), colpret=True)
    assert result.as_dict()["are_final"] == pytest.approx(are, abs=0.05)


@pytest.mark.parametrize(
    ("name", "split", "cut", "bar"),
    [
        ("gpt3", Split(), HALF, 0.8),
        ("gpt3", Split(models=5), HALF, 3.5),
        ("opt", Split(), HALF, 1.6),
        ("opt", Split(models=0, target_share=0.3), None, 2.5),
        ("gpt3", Split(models=0, target_share=0.3), None, 7.0),
    ],
)
def test_families_are_predicted(family, name, split, cut, bar):
    assert evaluate(family(name), split, cut=cut).as_dict()["are_last30"] <= bar


def test_a_borrowed_size_term_helps_one_small_model(family, chinchilla):
    borrowed = borrow(fit(chinchilla, bootstraps=0))
    result = evaluate(family("datablations_c4_e01"), Split(models=1), borrowed=borrowed)
    assert result.as_dict()["are_last30"] <= 0.6


def test_repeated_tokens_lose_their_worth_as_published(family):
    law = fit_repeated(family("datablations_c4_grid"), min_unique_tokens=1e9)
    assert 10 <= law.R_D <= 25

"""The section on whole experiments: its tables, and what it says of one seed or of nothing."""

import re

import pytest

from reports import load, page, words
from reports.blocks import Plotter
from reports.topics import experiments
from tests.helpers.drawings import written
from tests.helpers.ledgers import environment, training_case, write_ledger
from tests.reports.test_headlines import begun, judged, noisy, onset, outcome, stepped


def read(folder, records):
    return load.Run.read(write_ledger(folder, records), "run")


@pytest.fixture
def whole(tmp_path):
    """Every kind of outcome on one text."""
    cells = [{"train_tokens": 7800, "passes": 16.0, "n_seeds": 3, "loss": 6.2, "additive": 6.25}]
    return read(
        tmp_path,
        [
            environment(),
            onset("python-docs", 0.5, 0.01),
            judged("python-docs", 0.5),
            outcome("repeat_cells", "python-docs", cells),
            noisy("python-docs", 0.5),
            begun("normal", 17.0, 0.9),
            begun("gpt2", 9.1, 0.0),
        ],
    )


def test_each_question_has_a_table(whole):
    (section,) = experiments.section(whole, Plotter("r", False))
    captions = [table.caption for table in section.tables]
    assert len(captions) == 5
    names = [re.search(r"Experiment: (.*)\.$", caption)[1] for caption in captions]
    assert names == [*["x on python-docs"] * 4, "weights on python-docs"]
    rows = [row for table in section.tables for row in table.rows]
    assert {len(row) for table in section.tables for row in table.rows} == {
        len(table.columns) for table in section.tables
    }
    assert ("7,800", "16", "3", "6.200", words.MISSING, words.MISSING, "6.250") in rows


def test_figures_show_repeats_and_copying(tmp_path):
    cells = [
        {"train_tokens": u, "passes": r, "n_seeds": 3, "loss": 6.0 + 0.1 * r}
        for u in (7800, 125_000)
        for r in (1.0, 4.0, 16.0)
    ]
    runs = [begun("normal", 17.0, 0.9), begun("gpt2", 9.1, 0.0)]
    for run in runs:
        run["series"]["copying"] = [
            {"step": i, "tokens": 512 * i, "epochs": 0.1 * i, "copy_probability": 0.9 / (1 + i)}
            for i in range(7)
        ]
    whole = read(tmp_path, [environment(), outcome("repeat_cells", "python-docs", cells), *runs])
    (section,) = experiments.section(whole, Plotter("r", True))
    assert [plot.title for plot in section.plots] == [
        "Loss on repeated text",
        "How much a model copies its input",
    ]
    assert "125,000 unique tokens" in written(section.plots[0].svg)
    assert "standard normal weights" in written(section.plots[1].svg)


def test_page_shows_the_section_and_its_findings(whole):
    text, claims = page.render([whole], "md")
    assert "What do whole experiments show, beyond pairs?" in text
    assert len([claim for claim in claims if claim.topic == "experiments"]) == 4


def test_ledger_without_outcomes_has_no_section(tmp_path):
    run = read(tmp_path, [environment(), training_case("sequential", 0)])
    assert experiments.section(run, Plotter("r", False)) == []
    assert experiments.find(run) == []


def test_one_seed_claims_no_onset(tmp_path):
    row = {"arm": "share0.1", "n_seeds": 1, "passes": 40.0, "epochs": 12.5, "rise": 0.5}
    (found,) = experiments.find(read(tmp_path, [outcome("onset", "python-docs", [row])]))
    assert found.headline.startswith("Too few seeds to tell whether")
    assert "One seed gives no test of the rise." in found.detail


def test_null_says_what_could_have_been_seen(tmp_path):
    """Where the loss is lowest at the end, only a rise over the last stretch could be seen."""
    for rise, when in ((0.0, " over the last stretch"), (0.05, "")):
        (found,) = experiments.find(read(tmp_path / str(rise), [onset("python-docs", rise, 1.0)]))
        assert found.importance < 50
        told = f"A rise of 0.100 nats/token{when} would have been found in 80 % of the cases."
        assert told in found.detail.replace(words.NBSP, " ")


def test_seed_noise_that_is_not_resolved_gives_both_sizes(tmp_path):
    (found,) = experiments.find(read(tmp_path, [noisy("python-docs", 0.5)]))
    headline = found.headline.replace(words.NBSP, " ")
    assert headline.endswith(
        "sd 0.0300 nats/token at 200 k weights and 0.0100 nats/token at 2.00 M weights"
    )
    assert "0.600 % of the loss" in found.detail.replace(words.NBSP, " ")


def test_noise_that_was_not_compared_with_the_smallest_model_claims_nothing(tmp_path):
    case = noisy("python-docs", 0.001)
    for row, p in zip(case["series"]["noise"], (0.001, None), strict=True):
        row["p_adjusted"] = p
    assert experiments.find(read(tmp_path, [case])) == []


def test_finding_says_for_which_passes_and_size_it_holds(tmp_path):
    """A hundredth of the text is passed over a hundred times as often: 4 and 400 passes."""
    runs = [training_case("sequential", 0), training_case("shuffled_blocks", 0)]
    for each, epochs, tokens in zip(runs, (4.0, 400.3), (125_000, 1_250), strict=True):
        each["params"]["experiment"] = "x-python-docs-4"
        each["metrics"] |= {"epochs": epochs, "train_tokens": tokens, "n_params": 172_000}
    found, *_ = experiments.find(read(tmp_path, [onset("python-docs", 0.5, 0.01), *runs]))
    assert found.headline.replace(words.NBSP, " ").endswith(
        "in the experiment x on python-docs "
        "(4 to 400 passes over 1,250 to 125,000 tokens, 172 k weights)"
    )


def test_arms_that_share_initial_weights_are_not_mixed(tmp_path):
    runs = [begun("normal", 17.0, 0.9), begun("gpt2", 9.1, 0.0), begun("gpt2", 9.1, 0.0, seed=1)]
    runs[2]["params"]["arm"] = "shuffled_blocks-init_gpt2"
    (section,) = experiments.section(read(tmp_path, runs), Plotter("r", False))
    assert [row[:2] for row in section.tables[0].rows] == [
        ("standard normal weights", "1"),
        ("weights as in GPT-2", "1"),
        ("DataLoader, shuffled, weights as in GPT-2", "1"),
    ]


@pytest.mark.parametrize(
    ("p", "detectable", "told"),
    [
        (1.0, 0.03, "A step of 0.0300 nats/token would have been found in 80 % of the cases."),
        (1.0, None, "So few seeds could have found no step of any size"),
        (None, None, "One seed gives no test of the step."),
    ],
)
def test_step_that_is_not_resolved_says_what_could_have_been_seen(tmp_path, p, detectable, told):
    case = stepped("python-docs", -0.01, p)
    case["series"]["staircase"][0]["detectable"] = detectable
    (found,) = experiments.find(read(tmp_path, [case]))
    assert told in found.detail.replace(words.NBSP, " ")
    assert found.headline.startswith("No step" if detectable else "Too few seeds")


def test_seed_noise_of_two_seeds_is_not_compared(tmp_path):
    case = noisy("python-docs", 0.001)
    for row in case["series"]["noise"]:
        row["n_seeds"] = 2
    (found,) = experiments.find(read(tmp_path, [case]))
    assert found.headline.startswith("Too few seeds")

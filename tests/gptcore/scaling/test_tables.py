"""Tables of losses: what is read, what is refused in one line, what a fit uses of them."""

import gzip
import time

import numpy as np
import pandas as pd
import pytest

from gptcore.scaling.fitting import fit
from gptcore.scaling.table_files import read_table
from gptcore.scaling.tables import (
    Cut,
    check_table,
    drop_largest,
    keep_rows,
    make_points,
    one_family,
)

HEADER = b"model,params,tokens_seen,loss\n"


def table(**changes):
    """Return two runs of three checkpoints."""
    n = np.repeat([1e7, 1e8], 3)
    d = np.tile([1e9, 2e9, 4e9], 2)
    rows = pd.DataFrame(
        {"model": n, "params": n, "tokens_seen": d, "loss": 5 - np.log10(n * d) / 9}
    )
    return rows.assign(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": np.nan}, "loss is 'nan' in data row 1 .6 such rows.*leave out what diverged"),
        ({"loss": -1.0}, "loss is '-1.0'"),
        ({"loss": "hello"}, "loss is 'hello'"),
        ({"params": np.inf}, "params is 'inf'"),
        ({"tokens_seen": 0}, "tokens_seen is '0'"),
        ({"tokens_seen": 300.0}, "not millions or billions"),
        ({"params": 125.0}, "not millions or billions"),
        ({"params": 1e200}, "params goes from 1e\\+200 .* up to 1e\\+100"),
        ({"loss": 1e-300}, "the loss is 1e-300 somewhere"),
        ({"unique_tokens": 300.0}, "unique_tokens is 300 somewhere: .*not millions"),
        ({"loss": 25.0}, "logarithm of a perplexity"),
        ({"model": "one"}, "not .*swapped"),
    ],
)
def test_what_no_loss_table_holds_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        check_table(table(**changes))


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match="no column params, loss"):
        check_table(table().drop(columns=["params", "loss"]))


def test_a_table_without_rows_is_refused():
    with pytest.raises(ValueError, match="no rows"):
        check_table(table().head(0))


def test_repeated_rows_are_left_out_and_told():
    checked, notes = check_table(pd.concat([table(), table()]))
    assert len(checked) == 6
    assert "6 rows repeat another" in notes[0]


def test_few_tokens_per_parameter_are_suspected_to_be_swapped():
    swapped = table().rename(columns={"params": "tokens_seen", "tokens_seen": "params"})
    _, notes = check_table(swapped.assign(model=range(6)))
    assert "swapped" in notes[0]


def test_losses_of_two_kinds_and_repeated_text_are_warned_of():
    _, notes = check_table(
        table(loss_kind=["val", "train"] * 3, unique_tokens=[1e8] * 3 + [4e9] * 3)
    )
    assert "several kinds (train, val)" in notes[0]
    assert "up to 40 epochs" in notes[1]


def test_seeds_are_runs_of_their_own():
    both = pd.concat([table(seed=0), table(seed=1)])
    assert make_points(check_table(both)[0]).n_runs == 4


def test_losses_at_the_same_tokens_are_averaged_and_told():
    twice = pd.concat([table(), table(loss=table()["loss"] + 0.2)])
    checked, notes = check_table(twice)
    np.testing.assert_allclose(make_points(checked).loss, table()["loss"] + 0.1)
    assert "6 rows give another loss of the same run and tokens" in notes[0]


def test_the_cut_keeps_the_end_of_each_run():
    checked, _ = check_table(table())
    assert Cut(last_share=0.5)(checked)["tokens_seen"].tolist() == [2e9, 4e9] * 2
    assert (
        Cut(last_share=1, burn_in_tokens=1.5e9)(checked)["tokens_seen"].tolist() == [2e9, 4e9] * 2
    )
    assert Cut(final_only=True)(checked)["tokens_seen"].tolist() == [4e9, 4e9]
    assert Cut(burn_in_tokens=1e12)(checked)["tokens_seen"].tolist() == [4e9, 4e9]


@pytest.mark.parametrize("wrong", [{"last_share": 0}, {"last_share": 2}, {"burn_in_tokens": -1}])
def test_cuts_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="give"):
        Cut(**wrong)


def test_rows_are_kept_within_limits():
    rows = table(unique_tokens=1e9)
    assert len(keep_rows(rows, min_params=2e7)) == 3
    assert len(keep_rows(rows, max_params=2e7)) == 3
    assert len(keep_rows(rows, min_tokens_per_param=150)) == 2
    assert len(keep_rows(rows, max_epochs=2)) == 4
    with pytest.raises(ValueError, match="no row is left"):
        keep_rows(rows, min_params=1e12)
    with pytest.raises(ValueError, match="no column unique_tokens"):
        keep_rows(table(), max_epochs=2)


def test_the_largest_losses_are_dropped():
    assert drop_largest(table(), 2)["loss"].max() < table()["loss"].nlargest(2).min()
    with pytest.raises(ValueError, match="give fewer"):
        drop_largest(table(), 6)


def test_several_families_need_a_name():
    both = pd.concat([table(family="one"), table(family="two")])
    assert len(one_family(both, "one")) == 6
    with pytest.raises(ValueError, match=r"2 families.*one, two"):
        one_family(both)
    with pytest.raises(ValueError, match="no family 'three'"):
        one_family(both, "three")
    with pytest.raises(ValueError, match="no column family"):
        one_family(table(), "one")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "is empty"),
        ("blank.csv", b"\n \n\n", "is empty"),
        ("cut.csv.gz", gzip.compress(b"model,params\n" * 500, mtime=0)[:-9], "cannot be read"),
        ("bytes.csv", bytes(range(128, 256)) * 40, "not UTF-8 near line 1"),
        ("nul.csv", HEADER + b"a\0,1e7,1e9,3\n", "NUL character in line 2"),
        ("ragged.csv", HEADER + b"a,1e7,1e9,3,4\n", "5 values in line 2 and 4 names of columns"),
        ("cut.csv", HEADER + b"a,1e7,1e9,3\nb,1e7\n", "2 values in line 3 and 4 names"),
        ("quotes.csv", HEADER + b'"a,1e7,1e9,3\n', "not CSV in line"),
        ("quotes.csv", HEADER + b'"a"b,1e7,1e9,3\n', "not CSV in line 2"),
        ("semicolons.csv", HEADER.replace(b",", b";") + b"a;1e7;1e9;3,1\n", "by semicolons"),
        ("tabs.tsv", HEADER.replace(b",", b"\t") + b"a\t1e7\t1e9\t3\n", "by tabs: write commas"),
        ("twice.csv", b"loss," + HEADER + b"4,a,1e7,1e9,3\n", "the column loss is named twice"),
        ("wide.csv", b",".join(b"c%d" % i for i in range(1001)), "1,001 columns: give at most"),
        ("wider.csv", b"c," * 10**6, "more than 1,048,576 characters in line 1"),
        ("field.csv", HEADER + b"a" * 200_000 + b",1e7,1e9,3\n", "not CSV in line 2 .*limit"),
        ("unit.csv", HEADER.replace(b"params", b"params (M)"), r"'params \(M\)' has a unit: give"),
        ("case.csv", b"Loss," + HEADER, "the column loss is named twice"),
        ("rows.json", b'[{"model": "a"}]', "is JSON: give a CSV table"),
        ("row.jsonl", b'{"model": "a", "loss": 1}', "is JSON: give a CSV table"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_table(tmp_path / name)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        read_table(tmp_path / "none.csv")


def test_a_million_rows_are_quick():
    n = np.repeat(np.geomspace(1e7, 1e9, 10), 100_000)
    d = np.tile(np.linspace(1e8, 1e10, 100_000), 10)
    rows = pd.DataFrame({"model": n, "params": n, "tokens_seen": d,
                         "loss": 1.8 + 480 / n**0.35 + 2000 / d**0.37})  # fmt: skip
    started = time.perf_counter()
    law = fit(rows)
    assert time.perf_counter() - started < 60  # about 3 s on an idle core
    # means of neighbours are not exact: of 780 checkpoints in a bin, the curvature stays
    assert law.parameters["alpha"] == pytest.approx(0.35, abs=1e-3)


def test_of_very_many_runs_a_sample_is_fitted_and_told():
    n = np.geomspace(1e7, 1e9, 1500)
    rows = pd.DataFrame({"model": np.arange(1500), "params": n, "tokens_seen": 20 * n[::-1],
                         "loss": 2 + 100 / n**0.3 + 100 / n[::-1] ** 0.3})  # fmt: skip
    points = make_points(check_table(rows)[0])
    assert points.n_runs == 1000
    assert "1500 runs" in points.notes[0]


ROWS = [f"{1 + i}e7,{d}e9,{4 - i / 9 - d / 99:.3f}" for i in range(4) for d in (1, 2, 4)]


def written(path, names, header="", columns=()):
    """Write 4 sizes with 3 losses each; `columns` are texts that every row has at its end."""
    lines = [",".join((f'"{names[i // 3]}"', row, *columns)) for i, row in enumerate(ROWS)]
    path.write_text("\n".join([f"model,params,tokens_seen,loss{header}", *lines]) + "\n")
    return path


@pytest.mark.parametrize(
    "name",
    ["NA", "None", "nan", "NaN", "null", "N/A", "n/a", "#N/A", "-inf", "True", "0", "1e7", "01",
     "m4[/b]", " spaced ", "two\nlines", "a,b", "=1+1"],
)  # fmt: skip
def test_a_run_is_kept_whatever_its_name_is(tmp_path, name):
    rows = read_table(written(tmp_path / "t.csv", ["a", "b", name, "d"]))
    checked, notes = check_table(rows)
    assert checked["run"].nunique() == 4
    assert notes == []
    assert name in checked["model"].tolist()


@pytest.mark.parametrize("seed", ["NA", "None", "0", "1.0", "x"])
def test_a_seed_is_a_name_too(tmp_path, seed):
    rows = read_table(written(tmp_path / "t.csv", "abcd", ",seed", (seed,)))
    assert check_table(rows)[0]["run"].nunique() == 4
    assert set(rows["seed"]) == {seed}


@pytest.mark.parametrize("column", ["seed", "family", "loss_kind", "unique_tokens"])
def test_an_optional_column_that_is_blank_throughout_is_taken_as_absent(tmp_path, column):
    rows = one_family(read_table(written(tmp_path / "t.csv", "abcd", f",{column}", ("",))))
    checked, notes = check_table(rows)
    assert checked["run"].nunique() == 4
    assert notes == []
    assert "unique_tokens" not in checked


def blank(rows, column, places):
    return rows.assign(**{column: ["" if i in places else "x" for i in range(len(rows))]})


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("model", r"model is blank in line 6 \(2 such rows\): give it in every row$"),
        ("seed", r"seed is blank in line 6 \(2 such rows\): give it in every row, or in none"),
        ("family", r"family is blank in line 6 \(2 such rows\)"),
        ("loss_kind", r"loss_kind is blank in line 6"),
    ],
)
def test_a_name_that_is_blank_in_some_rows_is_refused_by_its_line(tmp_path, column, message):
    rows = blank(read_table(written(tmp_path / "t.csv", "abcd")), column, (4, 7))
    with pytest.raises(ValueError, match=message):
        check_table(one_family(rows))


@pytest.mark.parametrize("header", ["Seed", " SEED ", "# seed", "\u200bseed", "'seed'"])
def test_a_column_is_known_in_any_case(tmp_path, header):
    rows = read_table(written(tmp_path / "t.csv", "abcd", f",{header}", ("7",)))
    assert set(rows["seed"]) == {"7"}


@pytest.mark.parametrize("truth", [True, np.True_, "TRUE"])
@pytest.mark.parametrize("column", ["params", "tokens_seen", "loss"])
def test_truth_is_no_number(column, truth):
    with pytest.raises(ValueError, match=f"{column} is '(?i:true)' in data row 1"):
        check_table(table().assign(**{column: truth}))


def test_an_error_names_the_file(tmp_path):
    rows = read_table(written(tmp_path / "my table.csv", "abcd")).assign(loss="x")
    with pytest.raises(ValueError, match=r"my table.csv: loss is 'x' in line 2"):
        check_table(rows)


def test_a_name_that_is_blank_in_every_row_is_refused(tmp_path):
    with pytest.raises(ValueError, match="model is blank in every row"):
        check_table(read_table(written(tmp_path / "t.csv", ["", " ", "", ""])))


@pytest.mark.parametrize(
    "number",
    ["4B", "1,000", "1 000", "1.000.000", "0x10", "1_000", "1e400", "nan", "inf", "-1", "0", "True",
     "", "  ", "\uff11", "1e9 tokens", "1/2", "\u22121", "1+2j"],
)  # fmt: skip
@pytest.mark.parametrize("column", ["params", "tokens_seen", "loss", "unique_tokens"])
def test_a_number_that_is_none_is_refused_by_its_line(tmp_path, column, number):
    header = HEADER.decode().strip() + ",unique_tokens"
    values = {
        "model": "b",
        "params": "2e7",
        "tokens_seen": "1e9",
        "loss": "3",
        "unique_tokens": "1",
    }
    values["unique_tokens"] = "1e9"
    row = ",".join(f'"{(values | {column: number})[name]}"' for name in header.split(","))
    (tmp_path / "t.csv").write_text(f"{header}\n\na,1e7,1e9,3,1e9\n{row}\n")
    if column == "unique_tokens" and not number.strip():  # not known
        assert check_table(read_table(tmp_path / "t.csv"))[0]["unique_tokens"].isna().sum() == 1
        return
    with pytest.raises(ValueError, match=rf"{column} is '.*' in line 4 \(1 such rows\): give pos"):
        check_table(read_table(tmp_path / "t.csv"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tables_are_read_in_each_encoding_and_with_each_line_end(tmp_path, encoding, end):
    path = written(tmp_path / "t.csv", ["é", "b", "c", "d"])
    path.write_bytes(path.read_text().replace("\n", end).encode(encoding))
    rows = read_table(path)
    assert rows.index.tolist() == [*range(2, 14)]
    assert check_table(rows)[0]["model"].iloc[0] == "é"

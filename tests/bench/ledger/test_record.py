import json
import random

import pytest

from bench.ledger.record import FIELDS, SCHEMA_VERSION, dumps, loads, read_ledger, validate
from bench.ledger.schema import METRICS
from tests.helpers.records import RECORD, changed


def test_record_survives_a_round_trip():
    assert loads(dumps(RECORD)) == RECORD


def test_record_is_one_line_whatever_its_texts_hold():
    rows = [{"when": "after", "prompt": "a\nb\u2028", "text": "\x00\r\n</script>"}]
    assert dumps(changed(series={"generated": rows})).count("\n") == 0


def nested(levels):
    """Return lists inside each other."""
    return [nested(levels - 1)] if levels else []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"metrics": {"time_s": float("nan")}}, "time_s is nan"),
        ({"metrics": {"time_s": -1}}, "allowed is 0"),
        ({"metrics": {"mfu": "0.5"}}, "a number or null"),
        ({"metrics": {"rounds": 2.5}}, "whole number"),
        ({"metrics": {"speed": 1}}, "unknown metric"),
        ({"samples": {"time_s": [None]}}, "hold null"),
        ({"samples": {"time_s": 3}}, "must be a list"),
        ({"samples": {"noise": []}}, "unknown samples"),
        ({"series": {"loss_curve": [{"step": 1}]}}, "columns"),
        ({"series": {"curve": []}}, "unknown series"),
        ({"status": "fine"}, "with status"),
        ({"status": "failed"}, "without a reason"),
        ({"case": "test_step"}, "is not module::test"),
        ({"seed": True}, "seed is True"),
        ({"started_at": "yesterday"}, "Invalid isoformat"),
        ({"duration_s": -1.0}, "not negative"),
        ({"extra": 1}, "unknown: extra"),
        ({"metrics": {"rounds": 10**400}}, "allowed is 0.0 to 1.8e"),
        ({"metrics": {"difference": -(10**400)}}, "allowed is -inf"),
        ({"samples": {"time_s": [10**400]}}, "allowed is 0"),
        ({"series": {"cost_curve": [{"size": 10**400, "time_s": 1, "flops": 1}]}}, "not between"),
        ({"series": {"cost_curve": [{"size": 1, "time_s": "1", "flops": 1}]}}, "time_s is text"),
        ({"series": {"cost_curve": [{"size": 1, "time_s": True, "flops": 1}]}}, "is true or false"),
        ({"series": {"loss_curve": [[1, 2, 3, 4]]}}, "columns"),
        ({"series": {"generated": [{"when": 1, "prompt": "", "text": ""}]}}, "when is a number"),
        ({"params": {"batch_size": "4"}}, "params.batch_size is text: it must be a number"),
        ({"params": {"batch_size": True}}, "params.batch_size is true or false"),
        ({"params": {"n_embd": float("inf")}}, "not between"),
        ({"params": {"corpus": ["a"]}}, "params.corpus is a list: it must be text"),
        ({"params": {"raw": "yes"}}, "params.raw is text: it must be true or false"),
        ({"params": {"sizes": [1, "2"]}}, "params.sizes must be a list of numbers"),
        ({"params": {"base": {"device": 3}}}, "params.base.device is a number"),
        ({"params": {"anything": 10**400}}, "not between"),
        ({"facts": {"machine": {"cores": -(10**400)}}}, "facts holds a number"),
        ({"facts": {"deep": nested(30)}}, "facts is nested deeper than 20 levels"),
        ({"params": {"deep": nested(30)}}, "params is nested deeper"),
        ({"seed": 10**400}, "seed or duration_s holds a number"),
        ({"duration_s": 10**400}, "seed or duration_s holds a number"),
    ],
)
def test_broken_record_is_refused_with_its_reason(fields, message):
    with pytest.raises(ValueError, match=message):
        validate(changed(**fields))


@pytest.mark.parametrize("value", [None, 0, 1e308, 5e-324, -1])
def test_numbers_of_any_size_and_null_are_params_and_facts(value):
    validate(changed(params={"batch_size": value, "new": [value]}, facts={"load": value}))


def test_every_field_of_a_record_is_required():
    for name in FIELDS:
        with pytest.raises(ValueError, match=f"missing or unknown: {name}"):
            validate({k: v for k, v in RECORD.items() if k != name})


def test_unit_can_be_read_from_every_timing_key():
    assert all(name.endswith("_s") for name, key in METRICS.items() if key.unit == "s")


def write(folder, *lines):
    (folder / "records.jsonl").write_bytes(b"".join(lines))


def test_ledger_cut_in_the_middle_of_a_line_loses_one_case(tmp_path):
    first, second = dumps(RECORD).encode(), dumps(changed(case="m::t[2]")).encode()
    write(tmp_path, first + b"\n", second[:100])
    records, warnings = read_ledger(tmp_path)
    assert list(records) == [RECORD["case"]]
    assert len(warnings) == 1
    assert "line 2 cannot be read" in warnings[0]


OLD = RECORD | {"schema_version": 2}
HUGE = json.dumps(OLD).replace("1.5", "9" * 400, 1).encode()  # no float holds it


@pytest.mark.parametrize(
    "line", [b"\xff\xfe", b"[1]", b"null", b"{}", b"[" * 100_000, b'{"a": NaN}', b"1e999", HUGE]
)
def test_hostile_line_costs_a_warning_and_no_record(tmp_path, line):
    write(tmp_path, line + b"\n", dumps(RECORD).encode() + b"\n")
    records, warnings = read_ledger(tmp_path)
    assert len(records) == len(warnings) == 1


def test_last_record_of_a_case_stands(tmp_path):
    failed = changed(status="failed", reason="E: x")
    write(tmp_path, *(dumps(r).encode() + b"\n" for r in (failed, RECORD)))
    assert read_ledger(tmp_path)[0] == {RECORD["case"]: RECORD}


@pytest.mark.parametrize("version", [1, SCHEMA_VERSION + 1])
def test_ledger_of_another_version_is_refused_in_one_line(tmp_path, version):
    other = {"schema_version": version, "record": "case"}  # its keys may be others
    write(tmp_path, *[json.dumps(other).encode() + b"\n"] * 2)
    message = (
        rf"^\S+records\.jsonl: schema version {version} cannot be read, only 2 and 3 can: [^\n]*$"
    )
    with pytest.raises(ValueError, match=message):
        read_ledger(tmp_path)


def version_2(record):
    return json.dumps(record | {"schema_version": 2}).encode() + b"\n"


def test_ledger_of_version_2_loads_without_checksums(tmp_path):
    write(tmp_path, version_2(RECORD), version_2(changed(case="m::t[2]")))
    records, warnings = read_ledger(tmp_path)
    assert list(records.values()) == [
        RECORD | {"schema_version": 2}, changed(case="m::t[2]", schema_version=2)
    ]  # fmt: skip
    assert warnings == []


def test_line_of_version_3_without_its_checksum_is_left_out(tmp_path):
    write(tmp_path, json.dumps(RECORD).encode() + b"\n", version_2(changed(case="m::t[2]")))
    records, (warning,) = read_ledger(tmp_path)
    assert list(records) == ["m::t[2]"]
    assert "records.jsonl line 1 cannot be read and is left out: its checksum" in warning


def test_no_flipped_byte_changes_a_record_unnoticed(tmp_path):
    cases = [changed(case=f"m::t[{i}]", metrics={"time_s": 1 / (i + 3)}) for i in range(3)]
    whole = b"".join(dumps(record).encode() + b"\n" for record in cases)
    rng = random.Random(0)
    for _ in range(1000):
        at, flip = rng.randrange(len(whole)), rng.randrange(1, 256)
        damaged = bytearray(whole)
        damaged[at] ^= flip
        write(tmp_path, damaged)
        records, warnings = read_ledger(tmp_path)
        assert all(record in cases for record in records.values())
        assert warnings or len(records) == 3


def test_folder_without_ledger_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not a results folder"):
        read_ledger(tmp_path)

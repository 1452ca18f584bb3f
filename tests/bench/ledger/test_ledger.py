import pytest

from bench.ledger.ledger import Ledger, differences
from bench.ledger.record import loads
from tests.helpers.records import RECORD, changed

PRINT = {"suite": "smoke", "source_sha256": "a" * 64, "devices": ["cpu"], "machine": {"cores": 2}}


def opened(folder, fingerprint=PRINT):
    ledger = Ledger(folder, fingerprint)
    if not ledger.resumed:
        ledger.keep(speed=1.0)
    return ledger


def test_appended_record_is_on_disk_before_close(tmp_path):
    with opened(tmp_path / "run") as ledger:
        ledger.append(RECORD)
        assert loads(ledger.path.read_text()) == RECORD


def test_same_fingerprint_resumes_and_knows_finished_cases(tmp_path):
    with opened(tmp_path) as ledger:
        ledger.append(RECORD)
        ledger.append(changed(case="m::t[failed]", status="failed", reason="E"))
    with opened(tmp_path) as ledger:
        assert ledger.resumed
        assert ledger.manifest["speed"] == 1.0
        assert ledger.finished(RECORD["case"])
        assert not ledger.finished("m::t[failed]")
        assert not ledger.finished("m::t[new]")


def test_other_fingerprint_is_refused_by_name(tmp_path):
    opened(tmp_path).close()
    with pytest.raises(ValueError, match=r"another run .* source_sha256 was a+… and is b+…"):
        Ledger(tmp_path, {**PRINT, "source_sha256": "b" * 64})


def test_every_difference_is_named():
    assert differences(PRINT, {**PRINT, "machine": {"cores": 4, "gpu": "x"}}) == [
        "machine.cores was 2 and is 4",
        "machine.gpu was absent and is x",
    ]


def test_torn_last_line_is_cut_with_a_warning(tmp_path):
    with opened(tmp_path) as ledger:
        ledger.append(RECORD)
        whole = ledger.path.read_bytes()
        ledger.path.write_bytes(whole + whole[:50])
    with opened(tmp_path) as ledger:
        assert "was incomplete" in ledger.warnings[0]
        ledger.append(changed(case="m::t[2]"))
        assert ledger.path.read_bytes().startswith(whole)
        assert ledger.path.read_bytes().count(b"\n") == 2


def test_folder_in_use_is_refused(tmp_path):
    with opened(tmp_path), pytest.raises(ValueError, match="in use by another run"):
        opened(tmp_path)


def test_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match=r"holds thesis.txt and no run.json"):
        opened(tmp_path)


def test_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write"):
        opened(tmp_path / "file")


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", "null"])
def test_damaged_manifest_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match="cannot be read"):
        opened(tmp_path)


def test_run_killed_before_its_speed_was_kept_goes_on(tmp_path):
    Ledger(tmp_path, PRINT).close()
    assert (tmp_path / "records.jsonl").exists()
    with Ledger(tmp_path, PRINT) as ledger:
        assert ledger.resumed
        assert "speed" not in ledger.manifest


def test_folder_with_nothing_but_a_lock_is_taken(tmp_path):
    (tmp_path / ".lock").write_text("")
    opened(tmp_path).close()


def test_invalid_record_is_not_written(tmp_path):
    with opened(tmp_path) as ledger:
        with pytest.raises(ValueError, match="unknown metric"):
            ledger.append(changed(metrics={"nonsense": 1}))
        assert ledger.path.read_bytes() == b""

import errno
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.ledger.ledger import Ledger, differences, point_latest
from bench.ledger.record import loads, read_ledger
from tests.helpers.failing_calls import Fault
from tests.helpers.records import RECORD, changed

PRINT = {"suite": "smoke", "source_sha256": "a" * 64, "devices": ["cpu"], "machine": {"cores": 2}}


def opened(folder, fingerprint=PRINT):
    ledger = Ledger(folder, fingerprint)
    try:
        if not ledger.resumed:
            ledger.keep(speed=1.0)
    except ValueError:
        ledger.close()
        raise
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


LOSSES = {"suite": "study", "loss": {"source_sha256": "a"}, "time": {"machine": {"cores": 2}}}
ELSEWHERE = LOSSES | {"time": {"machine": {"cores": 4}}}
TIMELESS = {"m::t"}


def test_folder_of_losses_alone_goes_on_elsewhere_and_takes_no_time(tmp_path):
    with Ledger(tmp_path, LOSSES, TIMELESS) as ledger:
        ledger.append(changed(case="m::t[1]"))
        ledger.append(changed(case="m::timed[1]", status="failed", reason="E"))
        ledger.append(changed(case="m::timed[2]", record="skip", status="skipped", reason="none"))
    with Ledger(tmp_path, ELSEWHERE, TIMELESS) as ledger:
        assert ledger.moved == ["time.machine.cores was 2 and is 4"]
        ledger.check_timeless(["m::t[1]", "m::t[2]"], TIMELESS)
        with pytest.raises(ValueError, match=r"cores was 2 and is 4, and m::timed\[1\] takes a t"):
            ledger.check_timeless(["m::t[1]", "m::timed[1]"], TIMELESS)
    with Ledger(tmp_path, LOSSES, TIMELESS) as ledger:
        ledger.check_timeless(["m::timed[1]"], TIMELESS)


def test_folder_with_a_time_is_refused_elsewhere(tmp_path):
    with Ledger(tmp_path, LOSSES, TIMELESS) as ledger:
        ledger.append(changed(case="m::timed[1]"))
    with pytest.raises(ValueError, match="cores was 2 and is 4, and it has times, of m::timed"):
        Ledger(tmp_path, ELSEWHERE, TIMELESS)


def test_other_code_of_losses_is_refused_whatever_the_folder_holds(tmp_path):
    Ledger(tmp_path, LOSSES, TIMELESS).close()
    other = LOSSES | {"loss": {"source_sha256": "b"}}
    with pytest.raises(ValueError, match=r"loss\.source_sha256 was a and is b"):
        Ledger(tmp_path, other, TIMELESS)


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


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace", "close", "ftruncate"])
def test_every_failing_call_is_one_line_and_the_run_goes_on_in_the_same_folder(
    tmp_path, call, code
):
    for kth in range(1, 20):
        folder, told, message = tmp_path / f"{call}-{kth}", [], ""
        fault = Fault(call, kth, code)
        with fault.active():
            try:
                with opened(folder) as ledger:
                    for i in range(3):
                        ledger.append(changed(case=f"m::t[{i}]"))
                        told.append(f"m::t[{i}]")
            except ValueError as error:
                message = str(error)
        said = message.startswith("cannot write ") or "records.jsonl' cannot be opened" in message
        assert said == bool(message)
        assert bool(message) == fault.happened or call == "close"  # closing comes last of all
        with opened(folder) as ledger:
            assert [name for name in ledger.records if ledger.finished(name)] == told
            assert ledger.warnings == []
            ledger.append(changed(case="m::t[next]"))
        assert list(read_ledger(folder)[0]) == [*told, "m::t[next]"]
        assert names(folder) == ["records.jsonl", "run.json"]
        if not fault.happened:
            break
    else:
        pytest.fail("more calls than were expected")


def test_folder_of_a_run_killed_in_its_very_first_write_is_taken(tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / ".partial-0123456789abcdef.json").write_text('{"schema_ver')
    opened(tmp_path).close()
    assert names(tmp_path) == [".lock", "records.jsonl", "run.json"]


def test_what_killed_runs_left_of_models_and_traces_goes(tmp_path):
    opened(tmp_path).close()
    for name in ("models", "traces", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".partial-1.pt").touch()
    opened(tmp_path).close()
    assert [names(tmp_path / name) for name in ("models", "traces")] == [[], []]
    assert names(tmp_path / "other") == [".partial-1.pt"]  # nothing of ours is written there


def test_refused_run_changes_nothing(tmp_path):
    opened(tmp_path).close()
    (tmp_path / ".partial-1").touch()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="another run"):
        Ledger(tmp_path, {})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["records.jsonl", "run.json", ".lock"])
@pytest.mark.parametrize("target", ["victim", "absent", "folder", "loop"])
def test_link_in_place_of_a_file_is_refused_and_its_target_stays_whole(tmp_path, name, target):
    folder, victim = tmp_path / "run", tmp_path / "victim"
    (tmp_path / "folder").mkdir()
    opened(folder).close()
    victim.write_bytes((folder / name).read_bytes() if name != ".lock" else b"precious")
    before = victim.read_bytes()
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(folder / name if target == "loop" else tmp_path / target)
    with pytest.raises(ValueError, match=name), opened(folder) as ledger:
        ledger.keep(speed=2.0)
    assert victim.read_bytes() == before
    assert not (tmp_path / "absent").exists()


def test_ledger_that_another_hard_link_names_grows_alone(tmp_path):
    with opened(tmp_path / "run") as ledger:
        ledger.append(RECORD)
    os.link(tmp_path / "run" / "records.jsonl", tmp_path / "backup")
    before = (tmp_path / "backup").read_bytes()
    with opened(tmp_path / "run") as ledger:
        ledger.append(changed(case="m::t[2]"))
    assert (tmp_path / "backup").read_bytes() == before
    assert len(read_ledger(tmp_path / "run")[0]) == 2


@pytest.mark.parametrize("speed", ["fast", -1, 0, [], {}])
def test_manifest_with_an_odd_speed_is_refused(tmp_path, speed):
    with opened(tmp_path) as ledger:
        ledger.keep(speed=speed)
    with pytest.raises(ValueError, match="cannot be read"):
        opened(tmp_path)


def test_latest_is_whole_when_two_sessions_write_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [tmp_path / (f"{i}" * 50) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(point_latest, folders * 20))
    assert (tmp_path / "results" / "latest").read_text() in {f"{folder}\n" for folder in folders}
    assert names(tmp_path / "results") == ["latest"]


def test_invalid_record_is_not_written(tmp_path):
    with opened(tmp_path) as ledger:
        with pytest.raises(ValueError, match="unknown metric"):
            ledger.append(changed(metrics={"nonsense": 1}))
        assert ledger.path.read_bytes() == b""

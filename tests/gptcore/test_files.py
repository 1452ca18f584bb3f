import os

import pytest

from gptcore.files import write_atomically


def test_a_file_is_replaced_when_the_block_ends_and_not_before(tmp_path):
    path = tmp_path / "file.json"
    path.write_text("old")
    with write_atomically(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), write_atomically(path) as partial:  # noqa: PT012
        partial.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "usual").touch()
    with write_atomically(tmp_path / "file") as partial:
        partial.touch()
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_the_path_to_write_to_ends_like_the_file_and_is_this_process_own(tmp_path):
    with write_atomically(tmp_path / "trace.json.gz") as partial:
        partial.touch()
    assert partial.suffix == ".gz"
    assert str(os.getpid()) in partial.name

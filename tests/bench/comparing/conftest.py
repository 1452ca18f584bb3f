import pytest

from tests.helpers.compared_runs import environment, quiet, write


@pytest.fixture
def base(tmp_path):
    return write(tmp_path / "base", [environment(), *quiet(0)])

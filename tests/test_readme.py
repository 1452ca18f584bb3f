"""The README's quickstart runs as it stands, and what the README names is there."""

import re

import pytest

from tests.helpers.checkout import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_quickstart_runs_and_prints_what_it_promises(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in CODE:
        exec(compile(block, "README.md", "exec"), names)
    missed, expected, loss = re.fullmatch(
        r"(\d+) targets missed, (\d+) expected\nloss (\d+\.\d\d) nats per token after 20 steps\n",
        capsys.readouterr().out,
    ).groups()
    # 160 windows of 32 targets among 125,000: almost all are missed, give or take a few windows.
    assert abs(int(missed) - int(expected)) < 300
    assert 9 < float(loss) < 11  # a fresh model's is ln 50257 = 10.8
    assert (tmp_path / "runs" / "quickstart" / "metrics.jsonl").exists()


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_links_lead_to_files(link):
    assert (ROOT / link).exists()

"""A call of every command, and what its answer shows."""

import re

from gptcore.console import format_cell

TINY = "--n-layer 1 --n-head 2 --n-embd 8 --block-size 16 --batch-size 2"
CALLS = {
    "corpora": "corpora novel[final].txt",
    "tokenize": "tokenize novel[final].txt story.txt --out tokens",
    "plan": "plan --tokens 142515",
    "plan of all": "plan --tokens 142515 --all",
    "plan of documents": "plan --documents lengths.txt --block-size 7",
    "coverage": "coverage --corpus novel[final].txt --block-size 32 --steps 40",
    "audit": "audit holes.csv --tokens 991",
    "audit of random draws": "audit random.csv --tokens 991",
    "audit of a resume": "audit resumed.csv --unbroken holes.csv --tokens 991",
    "check": "check modern.py",
    "bias": "bias --corpus story.txt --raw",
    "leakage": "leakage --corpus novel[final].txt --block-size 16 --split block:3/10",
    "train": f"train --out first --corpus novel[final].txt --steps 3 {TINY} --resume",
    "generate": "generate --checkpoint first --prompt 1:100:2,[b]:smile: --new-tokens 5",
    "evaluate": "evaluate --checkpoint first --corpus novel[final].txt --train-fraction 0.7",
    "evaluate of a file": "evaluate --checkpoint first --file story.txt --context 8 --stride 3",
    "evaluate of the training part": "evaluate --checkpoint first --corpus novel[final].txt "
    "--part train",
    "export": "export --checkpoint first --out saved",
    "form": "form written.txt --corpus story.txt",
    "cost": "cost --model gpt2 --tokens 1e10",
    "cost of a measured speed": "cost --model model5 --tokens 1e8 --tokens-per-s 4e3,5e3,8e3 "
    "--price 0.5 --joules-per-token 0.018",
    "cost of building and reusing": "cost --model model4 --tokens 1e9 --law law.json "
    "--fine-tuned tuned.json --published-loss 2.9",
    "cost of an unknown price": "cost --tokens 7200 --tokens-per-s 2",
    "scale fit": "scale fit ladder.csv --bootstraps 20",
    "scale fit of too few": "scale fit two.csv",
    "scale evaluate": "scale evaluate losses.csv --family one",
    "scale evaluate of several": "scale evaluate ladder.csv",
    "scale predict": "scale predict --law law.json --params 5e9 --tokens 1e11",
    "scale allocate": "scale allocate --law law.json --flops 1e20",
    "scale isoflop": "scale isoflop levels.csv",
    "scale plan": "scale plan --budget 1e18 --target-params 1e9",
}


def row(answer, name):
    """Return the cells of a row of a table after its first one."""
    (line,) = (line for line in answer.splitlines() if re.match(re.escape(name) + "(  |$)", line))
    return re.split("  +", line)[1:]


def shown(*values):
    return [format_cell(value) for value in values]

import pytest
import torch

from gptcore.checking import load_function, load_model_file, load_python_file

B, T, V = 2, 4, 11

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.wte = nn.Embedding(vocab_size, 8)
        self.head = nn.Linear(8, vocab_size)

    def all(self, x):
        return self.head(self.wte(x))

def mean(logits, targets):
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

"""
MAKE = """
def make_model(vocab_size, block_size):
    return Model(vocab_size)
"""
FORWARDS = {
    "bare": "def forward(self, x): return self.all(x)",
    "mapping": "def forward(self, x): return {'logits': self.all(x)}",
    "nanogpt": """def forward(self, idx, targets=None):
        if targets is None:
            return self.all(idx)[:, [-1]], None
        return self.all(idx), mean(self.all(idx), targets)""",
    "loss first": """def forward(self, idx, targets=None):
        logits = self.all(idx)
        return (logits,) if targets is None else (mean(logits, targets), logits)""",
    "flat": """def forward(self, idx, targets):
        logits = self.all(idx).flatten(0, 1)
        return logits, nn.functional.cross_entropy(logits, targets.flatten())""",
    "loss alone": """def forward(self, idx, targets=None, reduction="mean"):
        return self.all(idx) if targets is None else mean(self.all(idx), targets)""",
}


@pytest.mark.parametrize("forward", FORWARDS.values(), ids=FORWARDS)
def test_logits_and_loss_are_found_however_the_forward_pass_returns_them(write, forward):
    file = load_model_file(write(f"{NET}class Model(Net):\n    {forward}\n{MAKE}"))
    model = file.make_model(V, T)
    x, y = torch.arange(B * T).view(B, T), torch.arange(1, B * T + 1).view(B, T)
    logits = file.logits(model, x)
    assert torch.equal(logits, model.all(x))
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
    assert torch.equal(file.loss(model, x, y), expected)
    assert file.get_batch is None
    assert file.make_optimizer(model) is None
    assert not file.takes_sizes


def test_the_functions_of_the_file_come_first(write):
    text = f"{NET}class Model(Net):\n    {FORWARDS['nanogpt']}\n{MAKE}"
    text += "def loss(model, x, y): return model(x, y)[1] + 7\n"
    text += "def make_optimizer(model): return torch.optim.SGD(model.parameters(), lr=1.0)\n"
    text += "def get_batch(split): return split, 1\n"
    file = load_model_file(write(text))
    model = file.make_model(V, T, n_layer=2)
    x = torch.zeros(B, T, dtype=torch.int64)
    assert torch.equal(file.loss(model, x, x), model(x, x)[1] + 7)
    assert isinstance(file.make_optimizer(model), torch.optim.SGD)
    assert file.get_batch("train") == ("train", 1)


NANOGPT = """
import dataclasses
print("a line on standard output")

@dataclasses.dataclass
class GPTConfig:
    block_size: int = 1024
    vocab_size: int = 50304
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    bias: bool = True

class GPT(Net):
    def __init__(self, config):
        super().__init__(config.vocab_size)
        self.config = config

    def forward(self, idx, targets=None):
        return self.all(idx), None

    def configure_optimizers(self, weight_decay, learning_rate, betas, device_type):
        print("using fused AdamW")
        return torch.optim.AdamW(self.parameters(), lr=learning_rate, betas=betas)
"""


def test_classes_of_nanogpt_need_no_function_and_print_nothing_on_standard_output(write, capsys):
    file = load_model_file(write(NET + NANOGPT))
    assert file.takes_sizes
    model = file.make_model(V, T, n_layer=3, n_head=4, n_embd=32)
    shape = model.config.vocab_size, model.config.block_size, model.config.n_layer
    assert shape == (V, T, 3)
    optimizer = file.make_optimizer(model)
    assert optimizer.defaults["lr"] == 6e-4
    out, err = capsys.readouterr()
    assert out == ""
    assert "a line on standard output" in err


def test_a_file_is_run_like_a_program_of_its_own(write):
    write("number = 7", "beside.py")
    module = load_python_file(write("import sys\nfrom beside import number\nargs = sys.argv[1:]"))
    assert (module.number, module.args) == (7, [])


def test_a_file_that_is_not_there_is_named_without_the_folders_above_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^absent\.py: there is no such file"):
        load_python_file("absent.py")


LOOP = "for step in range(3):\n    loss(step).backward()\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:", "cannot be imported: SyntaxError"),
        ("import sys; sys.exit(1)", "cannot be imported: SystemExit: 1 (line 1 of mine.py)"),
        ("name = input('name? ')", "cannot be imported: EOFError"),
        ("import nowhere_at_all", "cannot be imported: ModuleNotFoundError"),
        ("1 / 0", "cannot be imported: ZeroDivisionError"),
        ("x = 1", "has no make_model: add a function make_model(vocab_size, block_size)"),
        (NET, "(its modules are Net)"),
        ("def make_model(config): pass", "make_model of {} takes (config): write"),
        ("class A: pass\ndef get_batch(s): pass\n" + LOOP, "(line 4): copy A, get_batch into"),
        (LOOP, "write a file that only defines the model"),
        (f"def main():\n    {LOOP.replace(chr(10), chr(10) + '    ')}\nmain()", "(line 5): write"),
        ("class T:\n    def train(self):\n        while 1: s.backward()\nT().train()", "line 4"),
        ("from beside import A\ntrainer.train()", "it imports from beside.py"),
        ("with a:\n    try:\n        pass\n    finally:\n        while 1: l.backward()", "line 5"),
    ],
)  # fmt: skip
def test_a_file_that_defines_no_model_is_refused_in_one_line(write, text, said):
    write("", "beside.py")
    path = write(text)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        load_model_file(path)
    assert said.format(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        f"if __name__ == '__main__':\n    {LOOP.replace(chr(10), chr(10) + '    ')}",
        f"def train():\n    {LOOP.replace(chr(10), chr(10) + '    ')}",
        "import torch\nw = torch.ones(1, requires_grad=True)\nw.sum().backward()",
        "import torch\nmodel = torch.nn.Linear(1, 1)\nmodel.train()",
        "a = 0\nif a: pass\n" + "elif a: pass\n" * 990,
    ],
)
def test_a_file_that_only_can_train_is_loaded(write, text):
    load_python_file(write(text))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 3", "returns int: return a torch.nn.Module"),
        ("raise KeyError('n_head')", "fails: KeyError: 'n_head' (line 2 of mine.py)"),
    ],
)
def test_a_model_that_cannot_be_made_is_refused_in_one_line(write, body, said):
    file = load_model_file(write(f"def make_model(vocab_size, block_size):\n    {body}\n"))
    with pytest.raises(ValueError, match=r"mine\.py") as error:
        file.make_model(V, T)
    assert said in str(error.value)


def test_a_forward_pass_without_logits_is_refused(write):
    forward = "def forward(self, x): return self.all(x)[:, -1], None"
    file = load_model_file(write(f"{NET}class Model(Net):\n    {forward}\n{MAKE}"))
    with pytest.raises(ValueError, match=r"returns \(a tensor of shape \(2, 11\), None\)"):
        file.logits(file.make_model(V, T), torch.zeros(B, T, dtype=torch.int64))


def test_a_function_is_found_by_name(write):
    path = write("def step(): return 5\nnumber = 1")
    assert load_function(f"{path}:step")() == 5
    for name, said in ((f"{path}:number", "no function 'number'"), ("step", "file.py:function")):
        with pytest.raises(ValueError, match=said):
            load_function(name)

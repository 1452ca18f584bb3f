"""The rooms of the project and the arrows between them, read from the imports (ARCHITECTURE.md)."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.helpers.checkout import ROOT

PACKAGES = ("gptcore", "bench", "reports")
TEXT = {
    "gptcore.console", "gptcore.files", "gptcore.lines", "gptcore.plain_text",
    "gptcore.reading", "gptcore.streams", "gptcore.unpacking",
}  # fmt: skip
GROUND = TEXT | {
    "gptcore.checks", "gptcore.devices", "gptcore.intervals", "gptcore.paired", "gptcore.power",
    "gptcore.stats", "gptcore.variance",
}  # fmt: skip
DATA = GROUND | {"gptcore.data"}
SAMPLING = DATA | {"gptcore.sampling"}
MODEL = GROUND | {"gptcore.ops", "gptcore.model"}
LIBRARY = SAMPLING | MODEL | {
    "gptcore.audit", "gptcore.checking", "gptcore.cost", "gptcore.coverage", "gptcore.evaluation",
    "gptcore.scaling", "gptcore.theory", "gptcore.training",
}  # fmt: skip
LEDGER = {"bench.ledger"}
MEASURED = LIBRARY | LEDGER
ARROWS = {
    "gptcore.ops": GROUND,
    "gptcore.data": GROUND,
    "gptcore.scaling": GROUND,
    "gptcore.sampling": DATA,
    "gptcore.theory": SAMPLING,
    "gptcore.coverage": SAMPLING | {"gptcore.theory"},
    "gptcore.audit": SAMPLING | {"gptcore.theory"},
    # Published weights belong to GPT-2's vocabulary.
    "gptcore.model": MODEL | {"gptcore.data.tokenizer", "gptcore.data.vocabulary"},
    "gptcore.cost": MODEL | {"gptcore.scaling"},
    "gptcore.training": MODEL | {"gptcore.cost"},
    "gptcore.evaluation": MODEL | {"gptcore.scaling"},
    "gptcore.checking": SAMPLING | MODEL | {"gptcore.training"},
    "gptcore.cli": LIBRARY | {"gptcore"},  # for its version
    "gptcore.__main__": {"gptcore.cli", "gptcore.streams"},
    "bench.ledger": TEXT,
    "bench.measuring": MEASURED | {"bench.suite", "bench.variants"},
    "bench.variants": MEASURED,
    "bench.suite": MEASURED,
    "bench.pairing": MEASURED
    | {"bench.suite", "bench.measuring", "bench.variants", "bench.options"},
    "bench.comparing": LEDGER | TEXT | {"bench.options", "bench.pairing", "gptcore.stats"},
    "bench.engines": MEASURED | {"bench.suite", "bench.measuring", "bench.session"},
    "bench.experiments": MEASURED
    | {"bench.suite", "bench.measuring", "bench.options", "bench.pairing", "bench.session"},
    "reports.topics": LEDGER | TEXT | {"reports"},
    # The verdicts of a base run and of a folder of runs (docs/decisions/0052).
    "reports": LEDGER | TEXT | {"reports.topics", "bench.comparing", "bench.options"},
}
"""Room → the rooms and files that it may import, besides itself. Files that stand directly in
`bench` are the top of the package and may import every room below them."""

LOADS_WITHOUT = {
    "gptcore": ("torch", "numpy"),
    "gptcore.sampling": ("torch",),
    "gptcore.coverage": ("torch",),
    "gptcore.theory": ("torch",),
    "gptcore.audit": ("torch",),
    "gptcore.scaling": ("torch",),
    "gptcore.cost": ("torch", "numpy"),
    "gptcore.data": ("torch",),
    "gptcore.cli.main": ("torch", "pandas"),
    "bench.comparing.compare_command": ("torch",),
    "bench.comparing.history_command": ("torch",),
    "bench.ledger.folders": ("torch", "numpy"),
    "reports.page": ("torch", "scipy"),
}
MAX_FUNCTION_LINES, MAX_FILE_LINES = 50, 350
EXCEPTIONS: dict[str, str] = {}
"""Files and functions (file::name) over the limits, each with its reason: at most five."""


def modules():
    """Return module name → path, of all three packages."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name):
    """Return the modules of ours that a module imports, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (whole & set(MODULES)) | ({node.module} if whole - set(MODULES) else set())
    return {other for other in found if other in MODULES} - {name}


IMPORTS = {name: imports(name) for name in MODULES}


def room(name, depth=None):
    """Return the folder of a module; one that stands directly in a package is its own room."""
    folder = MODULES[name].relative_to(ROOT).parent.parts
    return name if len(folder) == 1 else ".".join(folder[:depth])


def circle(graph):
    """Return the nodes of a circle in `graph`, an empty list if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_files_import_each_other_in_no_circle():
    assert circle(IMPORTS) == []


def test_folders_import_each_other_in_no_circle():
    graph = {}
    for name, others in IMPORTS.items():
        graph.setdefault(room(name), set()).update(map(room, others))
    assert circle({name: others - {name} for name, others in graph.items()}) == []


def test_a_circle_would_be_found():
    assert circle({"a": {"b"}, "b": {"a"}})


def allowed(name):
    """Return the rooms and files that a module may import; None for all of its package's rooms."""
    if name.startswith("reports"):
        return ARROWS["reports.topics" if name.startswith("reports.topics") else "reports"]
    return ARROWS.get(room(name, 2), GROUND if name.startswith("gptcore") else None)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_arrows_go_one_way(name):
    rooms = allowed(name)
    for other in IMPORTS[name]:
        if rooms is None:  # a file on top of bench
            assert not other.startswith("reports"), f"{name} imports {other}"
            continue
        own = "reports" if name.startswith("reports") else room(name, 2)
        places = {other, room(other, 2), other.split(".")[0] if own == "reports" else other}
        assert own in places or places & rooms, f"{name} imports {other}"


@pytest.mark.parametrize(("module", "absent"), LOADS_WITHOUT.items())
def test_module_loads_without(module, absent):
    code = f"import sys, {module}; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not set(absent) & set(result.stdout.split())


def too_long():
    """Return the files and functions over the limits."""
    for path in MODULES.values():
        text, place = path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
        if text.count("\n") > MAX_FILE_LINES:
            yield place
        for node in ast.walk(ast.parse(text)):
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_function and node.end_lineno - node.lineno >= MAX_FUNCTION_LINES:
                yield f"{place}::{node.name}"


def test_files_and_functions_are_short():
    assert set(too_long()) == set(EXCEPTIONS)
    assert len(EXCEPTIONS) <= 5
    assert all(EXCEPTIONS.values())


def test_every_room_has_a_face():
    for name, path in MODULES.items():
        if path.name == "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), name
            if name.startswith("gptcore.") and name != "gptcore.cli":
                assert "__all__" in path.read_text(encoding="utf-8"), name

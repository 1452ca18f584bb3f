"""Lists the cases and facts of the checkout in whose folder it runs, as one line of JSON.

`bench.pairing.interleave` passes the text of this file to a Python process that it starts in a
checkout, which may be an older one: so it uses only what checkouts have had for long. It reads one
line of JSON from standard input: the suite, and the texts as the command line names them.
"""

import dataclasses
import importlib
import inspect
import json
import sys


def main() -> None:
    """Write the answer."""
    from bench.measuring import environment, pinning
    from bench.suite.catalog import CASES, params
    from bench.suite.inputs import Inputs
    from bench.suite.plan import Plan
    from bench.suite.sizes import SUITES
    from gptcore.devices import choose_devices

    task = json.loads(sys.stdin.readline())
    pinning.pin()
    inputs, devices, suite = Inputs(task["specs"]), choose_devices(None), SUITES[task["suite"]]
    plan = Plan(task["suite"], devices, tuple(inputs.corpora))
    texts = {name: corpus.sha256 for name, corpus in inputs.corpora.items()}
    cases = {}
    for test, make in CASES.items():
        module, _, name = test.partition("::")
        function = getattr(importlib.import_module(f"bench.{module}"), name)
        if "measure" not in inspect.signature(function).parameters:
            continue
        for case in make(plan):
            cases[f"{test}[{case.id}]"] = {
                "group": next(m.kwargs["group"] for m in function.pytestmark if m.kwargs),
                "params": params(case),
                "seed": getattr(case, "seed", None),
                "task": {
                    "test": test,
                    "kind": type(case).__name__,
                    "case": dataclasses.asdict(case),
                    "specs": task["specs"],
                    "budget_s": suite.round_budget_s / 3,
                },
            }
    fingerprint = environment.fingerprint(task["suite"], devices, texts)
    facts = {
        "machine": environment.machine(),
        "pinned": pinning.pinned(),
        "software": environment.versions(),
        "libraries": environment.libraries(),
        "corpora": [{"name": name, "sha256": sha256} for name, sha256 in texts.items()],
        "run": {
            "suite": task["suite"],
            "devices": list(devices),
            "threads": fingerprint["time"]["threads"],
            "source_sha256": fingerprint["time"]["source_sha256"],
            "dirty": environment.is_dirty(),
        },
    }
    answer = {"cases": cases, "fingerprint": fingerprint, "facts": facts}
    print(json.dumps(answer | {"commit": environment.commit()}))


if __name__ == "__main__":
    main()

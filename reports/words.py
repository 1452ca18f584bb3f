"""Numbers, units and names as a reader sees them."""

from __future__ import annotations

import math
import re
from typing import Any

import pandas as pd

from bench.ledger.schema import METRICS
from gptcore.plain_text import shorten
from reports import labels
from reports.labels import (
    CHANGES,
    CONDITIONS,
    DIMENSIONS,
    LOADING_LABELS,
    SAMPLER_LABELS,
    SAMPLERS_IN_PROSE,
    WORK_LABELS,
    WORK_NOUNS,
)

MISSING = "\u2013"
MINUS = "\u2212"
NBSP = "\u00a0"

PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
BINARY_PREFIXES = ((2.0**30, "Gi"), (2.0**20, "Mi"), (2.0**10, "Ki"), (1.0, ""))
SMALL_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def is_missing(value: Any) -> bool:
    """Return whether `value` is null (None), or no finite number."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _decimal(value: float, form: str) -> str:
    """Return a number in `form`; one that is rounded to zero has no sign."""
    text = format(value, form)
    if text[:1] in "+-" and not re.search("[1-9]", text):
        text = text[1:]
    return text.replace("-", MINUS)


def number(value: Any, digits: int = 3) -> str:
    """Return `value` with `digits` significant digits; whole numbers in full, with separators."""
    if is_missing(value):
        return MISSING
    if not isinstance(value, (int, float)):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return _decimal(int(value), ",")
    if 1e-4 <= abs(value) < 1e15:
        decimals = digits - 1 - math.floor(math.log10(abs(value)))
        return _decimal(value, f",.{max(decimals, 0)}f")
    return _decimal(value, f".{digits - 1}e")


def si(value: Any, unit: str, digits: int = 3) -> str:
    """Return `value` with an SI prefix and its unit: 2.2e11, "FLOP/s" → "220 GFLOP/s".

    All values have as many significant digits, so that 1.80 s stands above 5.62 s.
    """
    if is_missing(value):
        return MISSING
    return _scaled(value, unit, digits)[0]


def _scaled(value: float, unit: str, digits: int) -> tuple[str, float]:
    """Return a value with a prefix and its unit, and the number that the text stands for."""
    scales = {"s": SMALL_PREFIXES, "B": BINARY_PREFIXES}.get(unit, PREFIXES)
    scale, prefix = next((s for s in scales if abs(value) >= s[0]), scales[-1])
    if value == 0:
        scale, prefix = 1.0, ""
    scaled = value / scale
    before = 3 if abs(scaled) >= 100 else 2 if abs(scaled) >= 10 else 1
    decimals = max(digits - before, 0)
    return f"{_fixed(scaled, decimals)}{NBSP}{prefix}{unit}", round(scaled, decimals) * scale


def dividing(a: float, b: float, unit: str) -> tuple[str, str, str]:
    """Return a / b, a and b in words: a and b have so many digits that they divide to a / b.

    Args:
        a: a time, a rate or a number of bytes, above 0.
        b: the same of another case.
        unit: their unit; "B" stands for bytes with binary prefixes.
    """
    ratio = number(a / b)
    for digits in range(3, 10):
        (first, x), (second, y) = (_scaled(value, unit, digits) for value in (a, b))
        if y and number(x / y) == ratio:
            break
    return ratio, first, second


def _fixed(value: float, decimals: int) -> str:
    """Return a number with that many decimals; a power of ten where that would be a long line."""
    return _decimal(value, f",.{decimals}f" if abs(value) < 1e15 else ".2e")


def si_range(low: Any, high: Any, unit: str) -> str:
    """Return the two ends of a range, a common unit only once: "1.71 to 1.76 s"."""
    first, last = si(low, unit), si(high, unit)
    number, _, prefixed = first.partition(NBSP)
    return f"{number if last.endswith(NBSP + prefixed) else first} to {last}"


def size(value: Any, digits: int = 3) -> str:
    """Return a number of bytes with a binary prefix: 1.5 * 2**30 → "1.50 GiB"."""
    if is_missing(value):
        return MISSING
    return _scaled(value, "B", digits if abs(value) >= 2**10 else 1)[0]


def ratio(value: Any) -> str:
    """Return a ratio of two times: three decimals below 10, where claims rest on the third."""
    if is_missing(value):
        return MISSING
    return f"{value:.3f}" if 0.1 <= value < 10 else number(value)


def percent(share: Any) -> str:
    """Return a fraction in per cent, three significant digits: 0.02284 → "2.28 %"."""
    if is_missing(share):
        return MISSING
    value = 100 * share
    text = f"{value:.1f}".replace("-", MINUS) if 10 <= abs(value) < 100 else number(value)
    return MISSING if is_missing(value) else f"{text}{NBSP}%"


def tick(value: Any) -> str:
    """Return a number as short as it can be: for the ticks of an axis."""
    if is_missing(value):
        return MISSING
    return _decimal(float(f"{value:.6g}"), ",.10g")


def loss(value: Any) -> str:
    """Return a loss in nats per token with three decimals, the order of the seed noise."""
    return MISSING if is_missing(value) else _fixed(value, 3)


def signed(value: Any, digits: int = 4) -> str:
    """Return a difference with its sign, four decimals unless told otherwise."""
    if is_missing(value):
        return MISSING
    return _decimal(value, f"+.{digits}f" if abs(value) < 1e15 else "+.2e")


def signed_percent(share: Any) -> str:
    """Return a relative change in per cent, one decimal, with its sign."""
    if is_missing(share):
        return MISSING
    return f"{signed(100 * share, 1)}{NBSP}%"


def interval(low: Any, high: Any) -> str:
    """Return "−0.0123 to +0.0045", or the mark for missing."""
    missing = is_missing(low) or is_missing(high)
    return MISSING if missing else f"{signed(low)} to {signed(high)}"


def p_value(value: Any) -> str:
    """Return a p-value, two significant digits, never "0"."""
    if is_missing(value):
        return MISSING
    return "<0.001" if value < 0.001 else f"{value:.2g}"


def metric(name: str, value: Any) -> str:
    """Return the value of a metric of the schema in its own unit."""
    if is_missing(value):
        return MISSING
    unit = METRICS[name].unit
    if unit in {"s", "FLOP", "FLOP/s", "B/s"}:
        return si(value, unit)
    if unit == "B":
        return size(value)
    if unit == "fraction":
        return f"p = {p_value(value)}" if name.startswith("p_") else percent(value)
    if unit == "nats/token":
        return f"{number(value, 4)}{NBSP}{unit}"
    return number(value) if unit == "count" else f"{number(value)}{NBSP}{unit}"


def count(n: int, noun: str) -> str:
    """Return "1 seed", "6 seeds"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def count_of(value: float, noun: str) -> str:
    """Return "1 epoch", "0.5 epochs", "14.4 epochs"."""
    return f"{tick(float(f'{value:.3g}'))} {noun}{'' if value == 1 else 's'}"


def sampler(name: Any) -> str:
    """Return the words for a sampler, as a label."""
    return "sampler not recorded" if is_missing(name) else SAMPLER_LABELS.get(str(name), str(name))


def sampler_in_prose(name: Any) -> str:
    """Return the words for a sampler, inside a sentence."""
    return SAMPLERS_IN_PROSE.get(str(name), shorten(sampler(name)))


def arm(label: Any) -> str:
    """Return the words for an arm of an experiment, or for the mean of several, as a label."""
    known = SAMPLER_LABELS
    return "arm not recorded" if is_missing(label) else shorten(labels.arm(str(label), known), 160)


def arm_in_prose(label: Any) -> str:
    """Return the words for an arm of an experiment, inside a sentence."""
    known = SAMPLER_LABELS | SAMPLERS_IN_PROSE
    return "arm not recorded" if is_missing(label) else shorten(labels.arm(str(label), known), 160)


def model(name: Any) -> str:
    """Return the words for a model preset: model5 → "Model 5"."""
    if is_missing(name):
        return "model not recorded"
    numbered = re.fullmatch(r"model(\d+)", str(name))
    return f"Model {numbered[1]}" if numbered else shorten(str(name))


def corpus(name: Any) -> str:
    """Return the name of a corpus, short enough for a line."""
    return "not recorded" if is_missing(name) else shorten(str(name))


def work(name: Any) -> str:
    """Return the words for the kind of work that was timed."""
    return "not recorded" if is_missing(name) else WORK_LABELS.get(str(name), shorten(str(name)))


def device(name: Any) -> str:
    """Return the name of a device."""
    return "device not recorded" if is_missing(name) else shorten(str(name))


def dimension(name: Any) -> str:
    """Return the words for a dimension of a model or batch."""
    return "not recorded" if is_missing(name) else DIMENSIONS.get(str(name), shorten(str(name)))


def condition(name: Any) -> str:
    """Return the words for the condition under which a forward pass was timed."""
    return "not recorded" if is_missing(name) else CONDITIONS.get(str(name), shorten(str(name)))


def steadiness(verdict: Any) -> str:
    """Return the words for how steady a case ran: "stable", "noisy; warm-up out of time"."""
    return MISSING if is_missing(verdict) else shorten(str(verdict))


def verdict(name: Any) -> str:
    """Return the verdict of a comparison, as a sentence would say it of the second."""
    if is_missing(name):
        return "not recorded"
    known = {
        "ambiguous": "ambiguous: neither a difference nor equality",
        "same": "same, within the margin",
    }
    return known.get(str(name), shorten(str(name)))


def ceiling(device: str, name: str) -> str:
    """Return the words for one ceiling of a machine: "cpu: matrix product, fp32"."""
    product = re.fullmatch(r"gemm_(\w+?)_flops_per_s", name)
    what = f"matrix product, {product[1]}" if product else name.replace("_", " ")
    memory = re.fullmatch(r"memory_(\d+)mib_bytes_per_s", name)
    what = f"memory traffic within {memory[1]} MiB" if memory else what
    what = "memory copy" if name == "copy_bytes_per_s" else shorten(what)
    return f"{shorten(device)}: {what}" if device else what[:1].upper() + what[1:]


def subject(base: Any) -> str:
    """Return the words for a timed case inside a sentence: "a training step of Model 4".

    Args:
        base: its params, or its id.
    """
    if not isinstance(base, dict):
        return "a case not recorded" if is_missing(base) else f"the case {shorten(str(base), 90)}"
    return f"{WORK_NOUNS.get(str(base.get('work')), 'one call')} of {model(base.get('model'))}"


def base_conditions(base: Any) -> str:
    """Return the conditions of the case that a pair starts from, "" where they are not known."""
    if not isinstance(base, dict):
        return ""
    names = ("model", "device", "precision", "batch_size", "block_size", "compile")
    return conditions({n: math.nan if base.get(n) is None else base[n] for n in names})


def change(change: Any) -> str:
    """Return the words for what the second of a pair changes: "in bf16"."""
    if is_missing(change) or change == "":
        return "against an identical copy"
    name, equals, value = str(change).partition("=")
    if not equals:
        return f"against {shorten(name, 90)}"
    how = CHANGES.get(name)
    if how:
        return f"{how} {shorten(value)}"
    return f"with {shorten(name)}{NBSP}={NBSP}{shorten(value)}"


def loading(source: Any, way: Any) -> str:
    """Return the words for a way of making batches."""
    known = LOADING_LABELS.get((str(source), str(way)))
    if known is not None or is_missing(source) or is_missing(way):
        return known or "way not recorded"
    return f"{shorten(str(way))}, from {shorten(str(source))}"


def text_share(share: float) -> str:
    """Return a share of the text as a fraction: 0.1 → "1/10", 1.0 → "all"."""
    if is_missing(share) or share == 1:
        return "all"
    parts = 1 / share if share > 0 else math.inf
    whole = math.isfinite(parts) and math.isclose(parts, round(parts), rel_tol=1e-6)
    return f"1/{round(parts):,}" if whole else percent(share)


def conditions(case: pd.Series[Any] | dict[str, Any], equals: str = f"{NBSP}={NBSP}") -> str:
    """Return the conditions of a timing, as far as they are known: "Model 5, cpu, fp32, B = 4"."""
    sizes = {"B": case["batch_size"], "T": case["block_size"]}
    compiled = case.get("compile")
    compiled = f"compiled ({compiled})" if isinstance(compiled, str) and compiled else None
    parts = [model(case["model"]), case["device"], case["precision"], compiled]
    parts += [f"{name}{equals}{number(size)}" for name, size in sizes.items() if size == size]
    return ", ".join(shorten(str(part)) for part in parts if not is_missing(part))


def sentence(text: str) -> str:
    """Return `text` with a capital at its start and one full stop at its end.

    The name of a package or of a file keeps its first letter.
    """
    begin = text[:1] if labels.OWN_NAME.match(text) else text[:1].upper()
    return f"{begin}{text[1:]}" + ("" if text.endswith((".", "?", "!")) else ".")


def case_label(case: pd.Series) -> str:
    """Return the short name of a timing: "Model 5, cpu, fp32, B 4, T 256"."""
    return conditions(case, equals=NBSP)

"""The door of the ledger: values of a record are held to the schema; what passes can be shown."""

from __future__ import annotations

from typing import Any

from bench.ledger.schema import FLAG, LARGEST, NUMBER, NUMBERS, PARAMS, SERIES, TEXT, TEXT_COLUMNS

MAX_DEPTH = 20  # lists and objects inside each other, at most


def kind(value: object) -> str:
    """Return what a JSON value is, in the words of `PARAMS`."""
    if isinstance(value, (dict, list, tuple)):
        return "an object" if isinstance(value, dict) else "a list"
    return TEXT if isinstance(value, str) else FLAG if isinstance(value, bool) else NUMBER


def check_json(value: object, name: str, depth: int = MAX_DEPTH) -> None:
    """Refuse numbers beyond a double, and lists and objects that are nested too deeply.

    Raises:
        ValueError: `value` holds such a number, or is nested more than `depth` times.
    """
    if isinstance(value, (dict, list, tuple)):
        if not depth:
            raise ValueError(f"{name} is nested deeper than {MAX_DEPTH} levels")
        for item in value.values() if isinstance(value, dict) else value:
            check_json(item, name, depth - 1)
    elif isinstance(value, (int, float)) and not abs(value) <= LARGEST:
        raise ValueError(f"{name} holds a number that is not between ±{LARGEST:.3g}")


def check_params(params: dict[str, Any], name: str = "params") -> None:
    """Refuse params of a wrong type; null is allowed for what is not known.

    Raises:
        ValueError: a param has another type than `PARAMS` says, or violates `check_json`.
    """
    check_json(params, name)
    for key, value in params.items():
        allowed = PARAMS.get(key)
        if value is None or allowed is None:
            continue
        if isinstance(value, dict) and "an object of params" in allowed:
            check_params(value, f"{name}.{key}")
        elif isinstance(value, (list, tuple)) and NUMBERS in allowed:
            if {kind(item) for item in value} - {NUMBER}:
                raise ValueError(f"{name}.{key} must be {NUMBERS}")
        elif kind(value) not in allowed:
            raise ValueError(f"{name}.{key} is {kind(value)}: it must be {' or '.join(allowed)}")


def check_row(name: str, row: object) -> None:
    """Refuse a row of a series whose columns or types are not those of the schema.

    Raises:
        ValueError: a column is missing or unknown, or holds neither its type nor null.
    """
    if not isinstance(row, dict) or tuple(row) != SERIES[name]:
        raise ValueError(f"a row of series {name} must have the columns {SERIES[name]}")
    for column, value in row.items():
        allowed = TEXT if column in TEXT_COLUMNS else NUMBER
        if value is not None and kind(value) != allowed:
            raise ValueError(f"series {name}: {column} is {kind(value)}: it must be {allowed}")
    check_json(row, f"series {name}")

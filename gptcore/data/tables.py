"""Documents in tables: JSON lines, Parquet and Arrow → GPT-2's tokens of each document."""

import hashlib
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from gptcore.console import Progress
from gptcore.data.token_files import DataFile
from gptcore.data.tokenizer import count_bytes, encode
from gptcore.data.vocabulary import gpt2
from gptcore.reading import (
    MOST_BYTES,
    check_regular,
    naming,
    open_regular,
    parse_json,
    read_lines,
)
from gptcore.unpacking import PIECE, too_large

TABLE = re.compile(
    r"\.(?:(jsonl|ndjson)(?:\.(?:gz|bz2|xz|zst))?|(parquet)|(arrow))$", re.IGNORECASE
)
LONGEST_DOCUMENT = 2**27
ROWS_AT_ONCE = 1024


def read_table(path: Path, field: str) -> DataFile:
    """Return the tokens of the documents that a table holds, one behind the other.

    Args:
        path: a file that ends in .jsonl (which may be compressed), .parquet or .arrow.
        field: the key or column that holds the text of a document.

    Raises:
        ValueError: the file cannot be read, a row has no text under that name, or pyarrow, which
            reads Parquet and Arrow, is not installed.
    """
    match = TABLE.search(path.name)
    assert match is not None
    kind = "jsonl" if match[1] else "parquet" if match[2] else "arrow"
    rows = _json_rows(path, field) if kind == "jsonl" else _arrow_rows(path, kind, field)
    ids, lengths, n_bytes = [], [], 0
    progress = Progress(f"reading {path.name}: document")
    for number, text in enumerate(rows, 1):
        with naming(f"{path}, document {number}"):
            tokens = encode(text, np.uint16)
        n_bytes += count_bytes(text)
        if n_bytes > MOST_BYTES:
            raise too_large(path, MOST_BYTES, "more bytes of text")
        lengths.append(len(tokens))
        if len(tokens):
            ids.append(tokens)
        progress(number, None)
    if not ids:
        raise ValueError(f"{path} holds no document: give a file with some text")
    joined, sizes = np.concatenate(ids), np.array(lengths, dtype=np.int64)
    sha256 = hashlib.sha256()
    with open_regular(path) as file:
        while piece := file.read(PIECE):
            sha256.update(piece)
    return DataFile(
        name=path.name[: match.start()],
        format=kind,
        ids=joined,
        largest=int(joined.max()),
        sha256=sha256.hexdigest(),
        vocabulary=gpt2(),
        starts=(np.cumsum(sizes) - sizes)[sizes > 0],
        n_bytes=n_bytes,
        n_empty=int((sizes == 0).sum()),
    )


def _json_rows(path: Path, field: str) -> Iterator[str]:
    for number, line in enumerate(read_lines(path, longest=LONGEST_DOCUMENT), 1):
        if not line.strip():
            continue
        value = parse_json(line, f"{path} line {number}")
        if not isinstance(value, dict):
            raise ValueError(f"{path} line {number} is no JSON object: give one in each line")
        yield _text(value.get(field), field, f"{path} line {number}", list(value))


def _arrow_rows(path: Path, kind: str, field: str) -> Iterator[str]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ValueError(
            f"{path} needs the package pyarrow, which is not installed: install it by "
            "pip install 'gptcore[parquet]', or write the documents as JSON lines (.jsonl)"
        ) from None
    check_regular(path)
    try:
        with pa.memory_map(str(path)) as file:
            if kind == "parquet":
                table = pq.ParquetFile(file)
                schema = table.schema_arrow
                batches = table.iter_batches(ROWS_AT_ONCE, columns=[field])
            else:
                table = _open_arrow(pa, file)
                schema, batches = table.schema, _arrow_batches(table)
            _check_column(pa, schema, field, path)
            values = (value for batch in batches for value in batch.column(field).to_pylist())
            for number, value in enumerate(values, 1):
                yield _text(value, field, f"{path} row {number}", schema.names)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path} cannot be read by pyarrow ({reason[:100]}): write it again"
        ) from None


def _open_arrow(pa: Any, file: Any) -> Any:
    """Return the reader of an Arrow file, or of an Arrow stream, as Hugging Face writes."""
    if file.read(6) == b"ARROW1":
        return pa.ipc.open_file(file)
    file.seek(0)
    return pa.ipc.open_stream(file)


def _arrow_batches(table: Any) -> Iterator[Any]:
    if hasattr(table, "num_record_batches"):
        return (table.get_batch(i) for i in range(table.num_record_batches))
    return iter(table)


def _check_column(pa: Any, schema: Any, field: str, path: Path) -> None:
    found = [column for column in schema if column.name == field]
    if len(found) != 1:
        raise ValueError(
            f"{path} has no column {field!r}: its columns are {_few(schema.names)}; name one with "
            "--field"
        )
    if not (pa.types.is_string(found[0].type) or pa.types.is_large_string(found[0].type)):
        raise ValueError(
            f"the column {field!r} of {path} is {found[0].type}: give one of text with --field"
        )


def _text(value: Any, field: str, where: str, names: list[str]) -> str:
    if isinstance(value, str):
        return value
    if field not in names:
        raise ValueError(
            f"{where} has no {field!r}: it has {_few(names)}; name the text with --field"
        )
    raise ValueError(f"{where}: {field!r} is {type(value).__name__}, and a document is text")


def _few(names: list[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in islice(names, 8))
    return (shown or "nothing") + (", …" if len(names) > 8 else "")

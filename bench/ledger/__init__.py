"""The ledger of a run, `records.jsonl`: its schema, its writer, its reader. It needs no torch."""

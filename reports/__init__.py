"""The report: reads the ledger of a run and writes one self-contained page.

It imports `bench.ledger` and `gptcore.files` alone, so a report renders where torch is missing.
"""

"""How results are shown: a ledger in, one self-contained page out.

Of ours it imports only `bench.ledger.record` (standard library), so it renders where torch is missing.
"""

"""The ledger: everything that was received is in `toots`, or the difference has a name.

See docs/decisions/0016-a-ledger-of-counts-by-source-and-hour.md.
"""

"""The ledger: planted losses, and weather without loss."""

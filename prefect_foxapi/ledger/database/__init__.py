"""The databases that can hold a ledger, and how a transaction runs in each."""

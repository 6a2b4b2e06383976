"""The operations of the ledger: what its transactions read and change."""

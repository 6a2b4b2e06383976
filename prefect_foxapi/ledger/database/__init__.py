"""How a transaction runs, per database."""

"""`python -m prefect_foxapi.ledger`: look at the ledger and settle what is open."""

import sys
from importlib import import_module

# By name: commands stand above the ledger, which must not import them.
sys.exit(import_module("prefect_foxapi.cli.ledger").main())

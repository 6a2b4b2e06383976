"""`python -m prefect_foxapi.ledger`: the same as `prefect-foxapi ledger`."""

import sys
from importlib.metadata import entry_points

# By the name of the console script: the commands are built on top of the ledger, which does not import them.
scripts = entry_points(group="console_scripts", name="prefect-foxapi")
if not scripts:
    sys.exit("the command prefect-foxapi is not installed: pip install prefect-foxapi")
sys.exit(next(iter(scripts)).load()(["ledger", *sys.argv[1:]]))

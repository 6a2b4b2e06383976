"""The command `prefect-foxapi`: the ledger's commands, and the emulator.

Exit codes:

| code | meaning |
| --- | --- |
| 0 | success |
| 1 | the command failed; a message on stderr says why |
| 2 | the arguments are wrong; nothing was done |
| 130 | interrupted with Ctrl-C |

Data goes to stdout, messages to stderr. `prefect_foxapi.cli.json_output` lists the fields that `--json` prints.
"""

EXIT_CODES = """\
Exit codes:
  0    success
  1    the command failed; a message on stderr says why
  2    the arguments are wrong; nothing was done
  130  interrupted with Ctrl-C
"""

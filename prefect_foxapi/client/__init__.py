"""One FoxAPI over HTTP: submit, read, wait. It knows neither the ledger nor Prefect."""

from prefect_foxapi.client.client import FoxAPIClient

__all__ = ["FoxAPIClient"]

"""Prefect tasks for FoxAPI generations: paid for once, surviving anything, and seen."""

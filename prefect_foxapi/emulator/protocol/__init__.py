"""Requests as they arrive: parsing, checks and API errors."""

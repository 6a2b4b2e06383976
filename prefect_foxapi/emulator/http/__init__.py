"""The HTTP interface: routes, middleware and broken connections."""

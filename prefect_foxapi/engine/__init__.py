"""A generation for a call: found, or claimed, paid for and collected; each is paid for once."""

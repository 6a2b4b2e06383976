"""From bytes to chunks, through broken connections."""

"""Streams: from bytes to events, to chunks, to an answer, over several connections."""

"""What an output type asks of an answer."""

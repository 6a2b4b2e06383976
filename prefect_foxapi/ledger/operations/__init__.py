"""What a transaction does."""

"""The client for addresses that callers name."""

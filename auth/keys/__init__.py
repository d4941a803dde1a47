"""Personal API keys: their format, rights and storage."""

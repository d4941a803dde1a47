"""Personal API keys: their text, what they allow, where they are kept."""

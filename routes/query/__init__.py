"""Query parameters: how each is read, and the 400 for what cannot be read."""

"""Process plugins, one a file."""

"""Backups: the whole state in one file, and its restore."""

"""Backups: everything that counts in one file, and back."""

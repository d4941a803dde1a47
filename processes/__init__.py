"""What can be run: one process plugin a file."""

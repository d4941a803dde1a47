"""Assemble: application factory, settings, command line, logs. Nothing else."""

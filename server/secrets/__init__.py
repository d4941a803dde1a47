"""Secrets: settings from files, systemd and Vault, and credentials of the database that Vault renews."""

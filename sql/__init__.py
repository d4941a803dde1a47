"""Database access: connections, schema and migration for SQLite and PostgreSQL."""

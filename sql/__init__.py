"""What the database guarantees."""

"""The definition of the API (OpenAPI 3.0), complete in itself."""

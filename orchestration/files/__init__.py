"""The files of results: links to them and their expiry, usage and quota."""

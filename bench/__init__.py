"""Measurements, each against a peer in the same run where there is one; run with `make bench`."""

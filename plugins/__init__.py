"""What pygeoapi loads: providers and the process manager."""

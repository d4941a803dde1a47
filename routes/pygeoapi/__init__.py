"""What pygeoapi's own functions answer."""

"""Our own endpoints, and those that call pygeoapi."""

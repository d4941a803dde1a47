"""The plugins that pygeoapi loads: providers and the process manager."""

"""What a product is and how it is read, cut, measured and packed. Imports nothing of ours, never pygeoapi."""

"""The size and time of an order before it runs."""

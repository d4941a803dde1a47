"""STAC API: the products as collections and items, and the search."""

"""Prebuilt products: national and European files, made once and served to every later order."""

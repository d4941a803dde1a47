"""OGC API Records: records of products and collections; DCAT-AP."""

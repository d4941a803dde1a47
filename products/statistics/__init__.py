"""The statistics of areas by class, as a document, a table and a chart."""

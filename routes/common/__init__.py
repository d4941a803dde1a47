"""OGC API Common: landing page, conformance, collections, schema and queryables."""

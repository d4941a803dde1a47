"""A document as JSON or as a page, and the files of the pages."""

"""What is delivered: the members of a package and the archive itself."""

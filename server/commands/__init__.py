"""The commands of the program `landcast`, one group a module."""

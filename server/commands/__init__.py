"""The commands of the program `landcast`, one group in each module."""

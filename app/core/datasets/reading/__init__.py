"""Read files of any accepted format row by row, in memory that does not grow with the file."""

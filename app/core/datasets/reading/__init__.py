"""Files of any accepted format as rows one by one, in memory that does not grow with the file."""

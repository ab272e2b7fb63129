"""What goes out: files with ranges, plots, marked text, replies that are stored already."""

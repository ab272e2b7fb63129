"""A value at a time becomes a canonical row or an entry of the report."""

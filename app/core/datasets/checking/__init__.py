"""Check parsed values one by one: each becomes a canonical row or entries of the report."""

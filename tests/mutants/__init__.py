"""Faults planted one at a time, to see that the tests which should catch them do."""

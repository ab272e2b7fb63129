"""The trainer: a plain program that turns a run directory into a verified adapter."""

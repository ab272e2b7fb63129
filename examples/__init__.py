"""A sample dataset and a tiny base model, each with the script that makes it."""

"""A sample dataset and a tiny base model, with the scripts that create them."""

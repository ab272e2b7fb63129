"""Arrange encoded rows into sequences: the same code for the trainer and the dry run."""

"""How encoded rows become sequences: the same code for the trainer and for a plan."""

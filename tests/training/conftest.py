"""A tiny real base model and plans for it; the trainer here is the real one, on the CPU."""

"""Canonical rows as the model will see them: text, token ids, labels, lengths."""

"""Untrusted data in a child process: what it may use, how long it may take."""

"""Server-sent events: one follower per process serves all open streams, woken by notifications."""

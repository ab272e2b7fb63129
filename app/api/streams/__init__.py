"""Server-sent events: a follower per open stream, woken by what is published about its job."""

"""The embedded stack: real Postgres and Valkey from wheels, and our own processes beside them.

Nothing here imports the wheels: their programs are found on disk and started as children.
"""

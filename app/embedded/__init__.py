"""The embedded stack: real Postgres and Valkey from wheels, and the processes of Tunesmith.

Nothing here imports the wheels: their executables are located on disk and started as children.
"""

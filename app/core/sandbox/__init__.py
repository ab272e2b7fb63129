"""Process untrusted data in a child process with limits on resources, access and time."""

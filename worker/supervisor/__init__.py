"""The supervisor: claims a job, runs its trainer, relays the reports, concludes the attempt."""

"""The supervisor: claims a job, starts its trainer, relays its reports, concludes the attempt."""

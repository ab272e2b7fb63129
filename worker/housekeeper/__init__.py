"""The housekeeper process: dispatch, expired leases, dataset intake, garbage."""

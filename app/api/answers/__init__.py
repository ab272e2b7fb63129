"""Responses: downloads with ranges, plots, marked text, replies of idempotent requests."""

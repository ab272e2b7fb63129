"""Datasets: from uploaded bytes to canonical rows, and from those to training sequences.

reading    parses any bytes into values, row by row
checking   turns values into canonical rows, or reports everything wrong with them
tokens     encodes canonical rows as token ids and labels
layout     arranges encoded rows into sequences: trained, held out, truncated, split or dropped
"""

"""Datasets: from the bytes of an upload to canonical rows, and from those to what is trained.

reading    bytes to values, row by row, whatever the bytes are
checking   values to canonical rows, or to everything that is wrong with them
tokens     canonical rows to token ids and labels
layout     encoded rows to sequences: what is trained, held out, cut, split or dropped
"""

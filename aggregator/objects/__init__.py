"""Immutable objects outside Redis: a directory or a bucket, under names that are never used twice."""

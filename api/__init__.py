"""Requests, buckets, answers, access: the two endpoints over HTTP."""

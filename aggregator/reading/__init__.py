"""Reads of shards for answers, and the check of what is stored against call records."""

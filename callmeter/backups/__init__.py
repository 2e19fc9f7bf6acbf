"""Backups of what Redis holds, beside sealed rollups: made while workers go on, kept for some days, restored."""

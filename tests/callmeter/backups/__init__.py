"""Backups: what is copied while others write is of one instant, and comes back as it was."""

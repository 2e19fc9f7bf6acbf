"""Access keys: what a client shows, and the record that recognises it."""

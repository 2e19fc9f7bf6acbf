"""Makes events of the bytes of messages, or says exactly why not."""

"""From the bytes of messages to events, or the exact reason why not."""

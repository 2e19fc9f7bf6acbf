"""Redis: connections, the transaction with its fence, wide reads; the only room that imports its client."""

"""Makes one fenced write of a shard of a batch of events."""

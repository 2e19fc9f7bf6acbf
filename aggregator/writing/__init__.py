"""From a batch of events to one fenced write of a shard."""

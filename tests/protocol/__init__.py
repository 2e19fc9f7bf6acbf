"""A model of worker, shard and broker: the real worker and shard, step by step, on a Redis and a log in memory."""

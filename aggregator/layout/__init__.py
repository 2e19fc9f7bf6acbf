"""How a shard is stored: its keys and fields, each stored form with its one codec; pure."""

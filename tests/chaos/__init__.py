"""Everything that can die does, under constant load: the answers come out right to the unit."""

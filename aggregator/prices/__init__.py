"""What a model costs: the operator's price file, the public catalogue, and which of them is in force."""

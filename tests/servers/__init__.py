"""Real servers for the tests, each in a process of its own that can be killed and started again."""

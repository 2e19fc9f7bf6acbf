"""How far long work is, on a terminal or in log lines."""

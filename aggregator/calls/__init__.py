"""What a call is: its events, its record, what it used, its place in a tree."""

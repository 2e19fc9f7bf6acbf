"""`callmeter top`: what is asked of an api, what a terminal shows of it, and the keys that change it."""

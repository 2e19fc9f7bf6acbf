"""The page at `/`: static files that ask the endpoints from a browser, and the routes that serve them."""

"""What calls add up to: levels, views, totals, sketches, cells, and how they merge."""

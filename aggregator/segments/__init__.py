"""How finished cells are sealed: many together, column by column, compressed; pure."""

"""The charts: drawn from the tables, and checked against them."""

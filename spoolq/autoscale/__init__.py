"""How many processes a pool should have: what is measured, the policies that decide on it, and an operator's word."""

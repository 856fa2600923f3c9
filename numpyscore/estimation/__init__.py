"""Score matching in closed form."""

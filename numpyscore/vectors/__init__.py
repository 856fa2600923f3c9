"""Reference vectors from decimals, other people's numbers beside them, and speed beside other people's code."""

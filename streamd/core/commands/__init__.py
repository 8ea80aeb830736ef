"""Voice commands: what may be said, what it means, and whether it may be done. Pure, like the rest of the core."""

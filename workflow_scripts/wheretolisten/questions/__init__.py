"""Questions with choices about recordings, in MMAU's format: reading them, making them, scoring answers."""

"""Where in a recording of one's own a model hears a sound, and whether it hears it at all (docs/recordings.md)."""

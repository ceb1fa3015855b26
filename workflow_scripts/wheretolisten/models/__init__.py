"""Audio-language models: one adapter per family, found by the checkpoint's type (`registry`)."""

"""Audio-language models: one adapter per family, found by the checkpoint's type (`registry`), and the tiny checkpoints.

Nothing is imported here, so that training the tiny models does not depend on the adapters.
"""

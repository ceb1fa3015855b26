"""From prompts to last-token states and text-to-audio attention: batching, steering hooks, attention readout.

Knows tensors and adapters, not files.
"""

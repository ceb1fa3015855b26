"""What is fixed everywhere, and not configured."""

SAMPLING_RATE = 16_000
"""Sampling rate of all audio in the workflow, in Hz (METHOD of SWL: 16 kHz mono)."""

POSITIONS = ("begin", "middle", "end")
"""Names of the three event positions in a sample, in order of time."""

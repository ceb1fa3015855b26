"""Clip libraries: sources of many kinds, one `Clip` record for all.

`library.prepare` makes clips; `records.read_clips` and `pcm.read_clip` read them again. This file imports nothing, so
that what only reads clips neither needs nor depends on what makes them.
"""

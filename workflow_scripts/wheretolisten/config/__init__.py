"""The typed configuration: the only reader of raw config.

Every section is a pydantic model that refuses unknown keys. A rule passes the section it depends on, and nothing else,
to its script as one JSON string (`as_json`), so that a job reruns exactly when a value that matters to it changes.
"""

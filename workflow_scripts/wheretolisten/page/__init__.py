"""What a model hears in a recording, as one HTML page that plays it and needs nothing beside itself."""

from wheretolisten.page.writing import EMBEDDED_BYTES, MAX_POINTS, write_page

__all__ = ["EMBEDDED_BYTES", "MAX_POINTS", "write_page"]

"""The one exception that a user can cause."""


class UserError(Exception):
    """Something the user can put right: one sentence that says what is wrong, where, and what to do.

    Scripts print it without a traceback; any other exception is a bug of ours and keeps its traceback.
    """

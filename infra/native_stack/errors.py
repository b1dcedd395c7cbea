"""The native stack's one error."""


class StackError(Exception):
    """Something a person can mend: the message says what is wrong and what to do."""

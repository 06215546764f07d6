"""Errors that are the user's to mend."""


class InputError(ValueError):
    """Something the user gave is wrong: a file, an id, a setting, a missing optional package.

    The message is one or two sentences saying what was expected, what was found, where, and the remedy.
    The command line prints it without a traceback and exits with 2.
    """

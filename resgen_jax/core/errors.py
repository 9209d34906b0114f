"""The one exception that stands for a user's mistake."""


class UserError(ValueError):
    """What came, what was expected and the way out, in one line.

    Raised before tracing, wherever an argument, a config field, a file or a folder is not what it
    has to be. The command line prints the message alone and exits with 2; any other exception is a
    fault of the library and keeps its traceback.
    """

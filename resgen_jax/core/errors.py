"""The one exception that stands for a user's mistake, and text that may go to a terminal."""


class UserError(ValueError):
    """What came, what was expected and the way out, in one line.

    Raised before tracing, wherever an argument, a config field, a file or a folder is not what it
    has to be. The command line prints the message alone and exits with 2; any other exception is a
    fault of the library and keeps its traceback. Names out of files are shown escaped.
    """

    def __str__(self) -> str:
        return shown(super().__str__())


def shown(text: str) -> str:
    """The text with every character but line ends escaped that a terminal would act on."""
    return "".join(
        character
        if character.isprintable() or character == "\n"
        else character.encode("unicode_escape").decode()
        for character in text
    )


def line(text: str) -> str:
    """The same with line ends escaped, too: a name that holds one does not look like two."""
    return shown(text).replace("\n", "\\n")

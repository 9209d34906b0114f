"""The one exception that stands for a user's mistake, and text that may go to a terminal."""

LONGEST_LINE, LONGEST_END = 4000, 400  # characters; the end of a message tells the way out
LONGEST_REASON = 200


class UserError(ValueError):
    """What came, what was expected and the way out, in one line.

    Raised before tracing, wherever an argument, a config field, a file or a folder is not what it
    has to be. The command line prints the message alone and exits with 2; any other exception is a
    fault of the library and keeps its traceback. Names out of files are shown escaped, and the
    middle of what fills pages is left out.
    """

    def __str__(self) -> str:
        text = super().__str__()
        if len(text) > LONGEST_LINE:
            text = f"{text[: LONGEST_LINE - LONGEST_END]} ... {text[-LONGEST_END:]}"
        return shown(text).replace("\n", r"\n")


def shown(text: str) -> str:
    """The text with every character but line ends escaped that a terminal would act on."""
    return "".join(
        character
        if character.isprintable() or character == "\n"
        else character.encode("unicode_escape").decode()
        for character in text
    )


def reason(failure: BaseException) -> str:
    """What another library's error says, in a short line, for a message of ours."""
    text = " ".join(str(failure).split())
    return text[:LONGEST_REASON] or type(failure).__name__


def line(text: str) -> str:
    """The same with line ends escaped, too: a name that holds one does not look like two."""
    return shown(text).replace("\n", "\\n")

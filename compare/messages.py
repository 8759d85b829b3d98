"""What an error says, in one line."""

from __future__ import annotations


def one_line(error: BaseException, longest: int = 300, bare: bool = False) -> str:
    """An error's kind and message in one line.

    Args:
        error: The error.
        longest: Characters beyond which the message is cut in its middle.
        bare: Leave out the kind where there is a message, as of an error whose message is a sentence of the zoo's.
    """
    kind = type(error).__name__
    text = "".join(letter if letter.isprintable() else " " for letter in str(error))
    text = " ".join(text.split())
    if len(text) > longest:
        text = f"{text[: longest // 2]} ... {text[-longest // 2 :]}"
    return f"{kind}: {text}" if text and not bare else text or kind

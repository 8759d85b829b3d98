"""What an error says, in one line."""

from __future__ import annotations


def one_line(error: BaseException, longest: int = 300) -> str:
    """An error's message, or its name where it has none, in one line; a long one is cut in its middle."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(error))
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= longest else f"{text[: longest // 2]} ... {text[-longest // 2 :]}"

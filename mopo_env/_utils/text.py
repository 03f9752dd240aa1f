"""Text from strangers' files, on its way to a terminal."""

import re

# Control characters but line breaks and tabs, marks that reverse the direction of text, and halves of characters.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def is_harmless(text: str) -> bool:
    """Return whether a text has no characters that could change the terminal or hide text in it."""
    return _CONTROL.search(text) is None


def harmless(text: str) -> str:
    """Replace the characters that could change the terminal or hide text in it; line breaks and tabs are kept."""
    return _CONTROL.sub("�", text)

"""What can be the name of a site or a sensor, whether it comes from a header, a record, a setting or an option."""

MAX_NAME_BYTES = 128
EXPECTED_NAME = f"1..{MAX_NAME_BYTES} bytes of text without control characters"


def is_name(text: str) -> bool:
    """Whether a text can be a site's or a sensor's name."""
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        return False
    return 0 < size <= MAX_NAME_BYTES and not any(ord(letter) < 32 or ord(letter) == 127 for letter in text)

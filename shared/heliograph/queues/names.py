"""What a queue may be called: free text, so that a site or a pipeline keeps its own name."""

MOST_CHARACTERS = 200


def name_fault(name: str) -> str | None:
    """Return what is wrong with a queue's name; None where it may be used.

    A name stands in addresses, where it may hold slashes; parts that are dots would be taken out of those on the way.
    """
    if not 1 <= len(name) <= MOST_CHARACTERS:
        return f"a name has 1 to {MOST_CHARACTERS} characters"
    if not name.isprintable():
        return "the name holds characters that cannot be printed"
    if name != name.strip():
        return "the name begins or ends with a space"
    if {".", ".."} & set(name.split("/")):
        return "a part of the name is . or .., which no address can hold"
    return None

"""Names of sources as they may be shown and logged."""

import re


def without_passwords(text: str) -> str:
    """Return an address, or a text that holds some, without user, password and tokens."""
    text = re.sub(r"(\w+://)[^/\s]*@", r"\1", text)
    return re.sub(
        r"(?i)\b([\w-]*(?:pass|pwd|token|secret|key|auth|user|login)[\w-]*)="
        r"""("[^"]*"|'[^']*'|[^&\s!]*)""",
        r"\1=***",
        text,
    )

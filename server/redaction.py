"""What no line of the log may hold, whoever wrote it there."""

import re

_SECRETS = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"  # a token (JWT)
    r"|(?<=lc_)[0-9a-z]{12}_[0-9A-Za-z]{20,}"  # an API key
    r"|(?:(?<=__Host-landcast=)|(?<=__Host-landcast-login=))[^;\s\"']+"  # a session, a login on its way
    r"|(?<=://)[^\s/@:\"']*:[^\s/@\"']+(?=@)"  # user and password of an address
    r"|(?i:(?<=bearer )|(?<=basic ))[\w.~+/=-]{8,}"
    r"|(?<![\w-])(?:(?<=sig=)|(?<=code=)|(?<=state=)|(?<=password=)|(?<=token=)|(?<=secret=)|(?<=csrf=)|(?<=hint=))"
    r"[^&\s\"']+"
)


def redact(line: str) -> str:
    """Return the line with tokens, keys, tickets, cookies and passwords left out."""
    return _SECRETS.sub("…", line)

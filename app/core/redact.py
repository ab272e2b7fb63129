"""The patterns of secrets, for everything that is stored or shown."""

import re

HIDDEN = "[redacted]"

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # The password of a URL: scheme://user:password@host
    (re.compile(r"(?<=://)[^\s/:@]*:[^\s/@]+(?=@)"), HIDDEN),
    # Our API keys, the Hub's tokens, AWS key ids.
    (re.compile(r"\b(?:ftk_[A-Za-z0-9_-]{8,}|hf_[A-Za-z0-9]{16,})"), HIDDEN),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), HIDDEN),
    (re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}"), rf"\1{HIDDEN}"),
    # NAME=value and "name": "value", for names that suggest a secret.
    (
        re.compile(
            r"(?i)\b([a-z0-9_-]*(?:secret|password|passwd|api_?key|access_?key|token)[a-z0-9_-]*"
            r"[\"']?\s*[=:]\s*[\"']?)(?!\d+\b|\[redacted\]|null\b|none\b)([A-Za-z0-9+/_.~-]{16,})"
        ),
        rf"\1{HIDDEN}",
    ),
)


def redact(text: str) -> str:
    """Replace everything in the text that looks like a credential."""
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text

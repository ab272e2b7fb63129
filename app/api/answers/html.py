"""Plain HTML pages with one style sheet, under a policy that allows nothing else."""

import base64
import hashlib
from html import escape

from fastapi.responses import HTMLResponse

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9em; }
pre { overflow-x: auto; padding: 0.75rem; border: 1px solid #8886; border-radius: 4px; }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid #8884; padding: 0.35rem 0.75rem 0.35rem 0; vertical-align: top; }
td:first-child { white-space: nowrap; }
h2 { margin-top: 3rem; border-bottom: 2px solid #8886; }
h3 { margin-top: 2rem; }
ul.index { columns: 2; list-style: none; padding: 0; }
p.answer { margin: 0.3rem 0; }
small { opacity: 0.75; }
"""
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'"


def page(title: str, body: str) -> str:
    """`body` is HTML: escape what comes from elsewhere."""
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(title)}</title>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<style>{STYLE}</style><body>{body}</body></html>"
    )


def answer(html: str) -> HTMLResponse:
    return HTMLResponse(html, headers={"Content-Security-Policy": POLICY})

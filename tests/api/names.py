"""Two hundred hostile file names that must be harmless."""

_SINGLE = [
    *("..", ".", "...", "/", "\\", "//", "~", "~root", "-", "--help", "-rf", "*", "?", "$HOME"),
    *("", " ", "  ", "\t", ".hidden", "name.", "name ", " name", "a b c", "%", "%00", "%2e%2e%2f"),
    *("../../etc/passwd", "..\\..\\windows\\system32", "/etc/passwd", "C:\\boot.ini", "C:relative"),
    *("\\\\server\\share\\x", "//server/share", "file:///etc/passwd", "data/../../x", "a/./b"),
    *("....//....//x", "..;/x", "..%2f..%2fx", "..%c0%afx", "%252e%252e%252f", "a/b/c/d/e/f"),
    *("http://127.0.0.1/x", "s3://bucket/key", "javascript:alert(1)", "data:text/html,x"),
    *('"', '""', 'a"b', "'", "a'b", "`", "`id`", "$(id)", "${IFS}", "; rm -rf /", "| id", "a&b"),
    *('x"; filename="y', 'x"; filename*=UTF-8\'\'y', "a;b", "a,b", "a=b", "a\\b", "a\\", "\\"),
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "]]>", "{{7*7}}", "{% x %}"),
    *("' OR 1=1 --", "'; DROP TABLE datasets; --", "%s%s%s%n", "%(x)s", "{0}", "null", "None"),
    *("upload", "rows.jsonl", "report.json", "files/00000", "datasets", "uploads", "undefined"),
    *("a\0b", "\0", "a\0.json", "a\nb", "\n", "a\r\nX-Injected: 1", "a\rb", "\r\n\r\n<html>"),
    *("a\tb", "\x1b[31mred", "\x07", "\x7f", "\x08" * 5, "\x80\x9f", "a\x85b", "a\u2028b"),
    *("\u202egpj.exe", "\u202dx", "a\u200fb", "\u200e", "\u061ca", "\u2066a\u2069", "\u200b"),
    *("\ufeffbom.json", "\ufffe", "\uffff", "\ufffd", "\U0010ffff", "\ue000", "\u00a0", "\u3000"),
    *("e\u0301", "\u00e9", "\u0130", "\u017f", "\ufb01", "\u2126", "\u212a", "\u1e9e", "\u00df"),
    *("\u6587\u4ef6.json", "\u0444\u0430\u0439\u043b",
      "\u05e7\u05d5\u05d1\u05e5", "\u0645\u0644\u0641"),
    *("\u0939\u093f\u0928\u094d\u0926\u0940", "\U0001f600.json",
      "\U0001f468\u200d\U0001f469\u200d\U0001f467"),
    *("Z\u0351\u036b\u0343a\u0300" * 10, "\u0301", "\U000e0041",
      "\u2024\u2024\u2215x", "\uff0e\uff0e\uff0f"),
    *("x" * 199, "x" * 200, "x" * 201, "x" * 255, "x" * 256, "x" * 900, "\u6587" * 200),
    *("\U0001f600" * 200, "a/" * 300, "../" * 250, "." * 200, " " * 200, '"' * 200, "%" * 200),
    *("a.json.exe", "a.tar.gz", "a.b.c.d", ".json", "json.", "a..json", "README", "..json"),
]  # fmt: skip
_DEVICES = [
    f"{device}{ending}"
    for device in ("CON", "PRN", "AUX", "NUL", "COM1", "LPT9", "con", "Nul")
    for ending in ("", ".json", ".", " ")
]

_CONTROLS = [f"a{chr(number)}b" for number in (*range(0x20), *range(0x7F, 0x90))]

NAMES = list(dict.fromkeys([*_SINGLE, *_DEVICES, *_CONTROLS]))

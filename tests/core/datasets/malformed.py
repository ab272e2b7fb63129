"""Broken and unusual uploads, and what is reported for each."""

import json

GOOD = b'{"instruction": "a", "output": "b"}'
ALSO = b'{"instruction": "c", "output": "d"}'


def lines(*rows: bytes) -> bytes:
    return b"\n".join(rows) + b"\n"


def array(*rows: bytes) -> bytes:
    return b"[\n" + b",\n".join(rows) + b"\n]\n"


def chat(*messages: dict | str) -> bytes:
    return lines(json.dumps({"messages": messages}).encode())


ASK = {"role": "user", "content": "a"}
ANSWER = {"role": "assistant", "content": "b"}
SILENT = {**ANSWER, "weight": 0}
CHATS = {
    "no messages": (chat(), [("messages_invalid", 1)], 0),
    "a message that is a string": (chat("a"), [("messages_invalid", 1)], 0),
    "a tool's message": (
        chat(ASK, {"role": "tool", "content": "x"}),
        [("tool_answer_invalid", 1)],
        0,
    ),
    "tools that are words": (
        lines(b'{"instruction": "a", "output": "b", "tools": "a hammer"}'),
        [("tools_invalid", 1)],
        0,
    ),
    "an unknown role": (chat(ASK, {"role": "narrator", "content": "x"}), [("role_unknown", 1)], 0),
    "two answers running": (chat(ASK, ANSWER, ANSWER), [("roles_not_alternating", 1)], 0),
    "an answer first": (chat(ANSWER, ASK), [("roles_not_alternating", 1)], 0),
    "a question last": (chat(ASK, SILENT, ASK), [("answer_missing", 1)], 0),
    "an image": (
        chat(ASK, {**ANSWER, "content": [{"type": "image_url"}]}),
        [("content_not_text", 1)],
        0,
    ),
    "a tool call": (chat(ASK, {**ANSWER, "tool_calls": [{}]}), [("tool_call_invalid", 1)], 0),
    "half a weight": (chat(ASK, {**ANSWER, "weight": 0.5}), [("weight_invalid", 1)], 0),
    "a weight on a question": (chat({**ASK, "weight": 1}, ANSWER), [("weight_invalid", 1)], 0),
    "two answers without a question between": (
        chat(ASK, ANSWER, SILENT),
        [("roles_not_alternating", 1)],
        0,
    ),
    "weights for fewer answers": (
        lines(b'{"instruction": "a", "history": [["b", "c"]], "weights": [1], "output": "d"}'),
        [("weight_invalid", 1)],
        0,
    ),
    "weights that are none": (
        lines(b'{"instruction": "a", "weights": "x", "output": "d"}'),
        [("weight_invalid", 1)],
        0,
    ),
    "weights of nothing": (
        lines(b'{"instruction": "a", "weights": [0], "output": "d"}'),
        [("nothing_trained", 1)],
        0,
    ),
    "no answer to train": (chat(ASK, SILENT), [("nothing_trained", 1)], 0),
    "an empty answer": (chat(ASK, {**ANSWER, "content": " "}), [("output_empty", 1)], 0),
    "a completion missing": (
        lines(b'{"prompt": "a", "completion": "b"}', b'{"prompt": "a"}'),
        [("field_missing", 2)],
        1,
    ),
}

# name: (bytes, every error and warning as (code, line), good rows)
FILES = {
    "no bytes": (b"", [("file_empty", 1)], 0),
    "white space only": (b" \n\r\n\t" * 30_000, [("file_empty", 1)], 0),
    "a byte order mark only": (b"\xef\xbb\xbf", [("file_empty", 1)], 0),
    "separators that only Unicode takes for space": (b"\x1c\x1d", [("format_unsupported", 1)], 0),
    "an empty array": (b"[]", [("no_rows", None)], 0),
    "zip": (b"PK\x03\x04\x14\0\0\0", [("format_unsupported", 1)], 0),
    "xlsx": (b"PK\x03\x04[Content_Types].xml", [("format_unsupported", 1)], 0),
    "pickle": (b"\x80\x04\x95\x0b\0", [("format_unsupported", 1)], 0),
    "html": (b"<!DOCTYPE html><html>Not found", [("format_unsupported", 1)], 0),
    "plain text": (b"hello there\n", [("format_unsupported", 1)], 0),
    "utf-16 with a mark": (GOOD.decode().encode("utf-16"), [("not_utf8", 1)], 0),
    "utf-16 without one": (GOOD.decode().encode("utf-16-le"), [("not_utf8", 1)], 0),
    "utf-32": (GOOD.decode().encode("utf-32"), [("not_utf8", 1)], 0),
    "latin-1 in one line": (lines(GOOD, b'{"instruction": "\xe9"}', ALSO), [("not_utf8", 2)], 2),
    "latin-1 in an array": (
        array(GOOD, b'{"instruction": "\xe9", "output": "b"}', ALSO),
        [("not_utf8", 3)],
        2,
    ),
    "rows under data": (b'{"data": [' + GOOD + b"]}", [("wrapped_in_object", 1)], 0),
    "rows under rows, pretty": (b'{\n "rows": [\n{"a": 1}]}', [("wrapped_in_object", 1)], 0),
    "one list per column": (
        b'{"instruction": ["a"], "output": ["b"]}',
        [("field_type", 1), ("field_type", 1)],
        0,
    ),
    "a row that is a list": (lines(GOOD, b'["a", "b"]'), [("not_an_object", 2)], 1),
    "a row that is null": (array(GOOD, b"null", ALSO), [("not_an_object", 3)], 2),
    "a row that is a number": (array(b"1", GOOD), [("not_an_object", 2)], 1),
    "rows encoded twice": (array(json.dumps(GOOD.decode()).encode()), [("not_an_object", 2)], 0),
    "a bare string": (b'"hello"', [("not_an_object", 1)], 0),
    "output missing": (lines(GOOD, b'{"instruction": "a"}'), [("field_missing", 2)], 1),
    "both missing": (lines(GOOD, b"{}"), [("field_missing", 2), ("field_missing", 2)], 1),
    "output null": (lines(b'{"instruction": "a", "output": null}'), [("field_null", 1)], 0),
    "instruction a number": (lines(b'{"instruction": 1, "output": "b"}'), [("field_type", 1)], 0),
    "input a list": (
        array(b'{"instruction": "a", "input": [], "output": "b"}'),
        [("field_type", 2)],
        0,
    ),
    "system true": (
        lines(b'{"instruction": "a", "output": "b", "system": true}'),
        [("field_type", 1)],
        0,
    ),
    "output blank": (lines(b'{"instruction": "a", "output": " \\n"}'), [("output_empty", 1)], 0),
    "instruction blank": (
        lines(b'{"instruction": "", "output": "b"}'),
        [("instruction_empty", 1)],
        0,
    ),
    "text blank": (lines(b'{"text": " "}'), [("output_empty", 1)], 0),
    "history flat": (
        lines(b'{"instruction": "a", "output": "b", "history": ["x", "y"]}'),
        [("history_invalid", 1), ("history_invalid", 1)],
        0,
    ),
    "history a string": (
        lines(b'{"instruction": "a", "output": "b", "history": "x"}'),
        [("history_invalid", 1)],
        0,
    ),
    "chat messages": (
        lines(b'{"messages": [{"role": "user", "content": "a"}]}'),
        [("answer_missing", 1)],
        0,
    ),
    **CHATS,
    "text and pairs mixed": (lines(GOOD, b'{"text": "t"}'), [("rows_mixed", 2)], 1),
    "lone surrogate": (
        lines(GOOD, b'{"instruction": "\\ud800", "output": "b"}'),
        [("lone_surrogate", 2)],
        1,
    ),
    "NUL, escaped": (
        lines(GOOD, b'{"instruction": "\\u0000", "output": "b"}'),
        [("nul_character", 2)],
        1,
    ),
    "NUL, raw": (
        lines(GOOD, b'{"instruction": "\0", "output": "b"}'),
        [("json_control_character", 2)],
        1,
    ),
    "NaN": (lines(GOOD, b'{"instruction": NaN, "output": "b"}'), [("json_not_finite", 2)], 1),
    "Infinity": (array(GOOD, b'{"weight": -Infinity}', ALSO), [("json_not_finite", 3)], 2),
    "a key twice": (
        array(GOOD, b'{"output": "a", "output": "b"}', ALSO),
        [("json_duplicate_key", 3)],
        2,
    ),
    "deep list": (lines(GOOD, b"[" * 10_000 + b"]" * 10_000), [("too_deep", 2)], 1),
    "deep list in an array": (
        array(GOOD, b"[" * 10_000 + b"]" * 10_000, ALSO),
        [("too_deep", 3)],
        2,
    ),
    "deep objects in an array": (
        array(GOOD, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, ALSO),
        [("too_deep", 3)],
        2,
    ),
    "a number of 5,000 digits": (
        lines(GOOD, b'{"a": ' + b"1" * 5000 + b"}"),
        [("json_invalid", 2)],
        1,
    ),
    "a long line": (
        lines(GOOD, b'{"a": "' + b"x" * 100_000 + b'"}', ALSO),
        [("row_too_long", 2)],
        2,
    ),
    "a very long line": (
        lines(GOOD, b'{"a": "' + b"x" * 2_000_000 + b'"}', ALSO),
        [("row_too_long", 2)],
        2,
    ),
    "a long line without end": (lines(GOOD) + b"x" * 2_000_000, [("row_too_long", 2)], 1),
    "a long row in an array": (
        array(GOOD, b'{"a": "' + b"x" * 100_000 + b'"}', ALSO),
        [("row_too_long", 3)],
        2,
    ),
    "an array cut in a row": (array(GOOD, ALSO)[:-20], [("json_truncated", 3)], 1),
    "an array cut in a literal": (b"[\n" + GOOD + b',\n{"a": tru', [("json_truncated", 3)], 1),
    "an array cut in an escape": (b"[\n" + GOOD + b',\n{"a": "\\u00', [("json_truncated", 3)], 1),
    "an array cut after a row": (b"[\n" + GOOD + b"\n", [("json_truncated", 3)], 1),
    "an array cut after a comma": (b"[\n" + GOOD + b",\n", [("json_truncated", 3)], 1),
    "only a bracket": (b"[", [("json_truncated", 1)], 0),
    "lines cut in a row": (lines(GOOD) + ALSO[:-9], [("json_truncated", 2)], 1),
    "a raw line break in a string": (
        lines(GOOD, b'{"instruction": "a\nb", "output": "c"}', ALSO),
        [("json_truncated", 2), ("json_invalid", 3)],
        2,
    ),
    "a raw line break in an array": (
        array(GOOD, b'{"instruction": "a\nb", "output": "c"}', ALSO),
        [("json_control_character", 3)],
        2,
    ),
    "a forgotten quote in an array": (
        array(GOOD, b'{"instruction": "a, "output": "c"}', ALSO),
        [("json_invalid", 3)],
        2,
    ),
    "a forgotten quote at a line's end": (
        array(GOOD, b'{\n "instruction": "a,\n "output": "c"\n}', ALSO),
        [("json_control_character", 4)],
        2,
    ),
    "a raw tab": (lines(b'{"instruction": "a\tb"}'), [("json_control_character", 1)], 0),
    "a bad escape": (lines(b'{"instruction": "a\\d"}', GOOD), [("json_bad_escape", 1)], 1),
    "a comma after the last row": (b"[\n" + GOOD + b",\n]", [("json_trailing_comma", 2)], 1),
    "a comma too many": (
        b"[\n" + GOOD + b",\n,\n" + ALSO + b"]",
        [("json_trailing_comma", 3)],
        2,
    ),
    "a comma in a row": (
        array(GOOD, b'{"instruction": "a",\n "output": "b",\n}', ALSO),
        [("json_trailing_comma", 5)],
        2,
    ),
    "lines with commas": (
        lines(GOOD + b",", ALSO),
        [("json_trailing_comma", 1)],
        1,
    ),
    "lines inside brackets": (
        b"[\n" + lines(GOOD, ALSO) + b"]",
        [("json_missing_comma", 3)],
        2,
    ),
    "no comma in a row": (
        lines(b'{"instruction": "a" "output": "b"}', GOOD),
        [("json_missing_comma", 1)],
        1,
    ),
    "two objects in a line": (lines(GOOD + ALSO, GOOD), [("json_extra_data", 1)], 1),
    "a second array": (array(GOOD) + array(ALSO), [("json_extra_data", 4)], 1),
    "a comment in a row": (
        array(GOOD, b'{"instruction": "a", // why\n "output": "b"}', ALSO),
        [("json_comment", 3)],
        2,
    ),
    "a comment between rows": (
        b"[\n// first\n" + GOOD + b",\n/* } */ " + ALSO + b"\n# end\n]",
        [("json_comment", 2), ("json_comment", 4), ("json_comment", 5)],
        2,
    ),
    "a comment before lines": (lines(b"# rows", GOOD), [("json_comment", 1)], 1),
    "a comment after a line": (lines(GOOD + b" // ok", ALSO), [("json_comment", 1)], 1),
    "single quotes": (
        lines(GOOD, b"{'instruction': 'a', 'output': 'b'}"),
        [("json_single_quotes", 2)],
        1,
    ),
    "single quotes in an array": (
        array(GOOD, b"{'instruction': 'a', 'output': 'b'}", ALSO),
        [("json_single_quotes", 3)],
        2,
    ),
    "Python's None": (
        array(GOOD, b'{"instruction": "a", "output": None}', ALSO),
        [("json_python_literal", 3)],
        2,
    ),
    "Python's True": (lines(b'{"instruction": True}', GOOD), [("json_python_literal", 1)], 1),
    "garbage between rows": (array(GOOD, b"nonsense", ALSO), [("json_invalid", 3)], 2),
    "garbage in a line": (lines(GOOD, b"nonsense", ALSO), [("json_invalid", 2)], 2),
    "objects over several lines": (
        b'{\n "instruction": "a",\n "output": "b"\n}\n{\n "instruction": "c",\n "output": 1\n}\n',
        [("objects_span_lines", 1), ("field_type", 5)],
        1,
    ),
    "csv without rows": (b"instruction,output\n", [("no_rows", None)], 0),
    "csv, a cell too many": (
        b"instruction,output\na,b\nc,d,e\nf,g\n",
        [("csv_wrong_width", 3)],
        2,
    ),
    "csv, a cell too few": (b"instruction,output\na,b\nc\nf,g\n", [("csv_wrong_width", 3)], 2),
    "csv, too wide behind a quoted line break": (
        b'instruction,output\n"a\nb",c\nd,e,f\n',
        [("csv_wrong_width", 4)],
        1,
    ),
    "csv, a forgotten quote": (
        b'instruction,output\na,b\n"c,d\ne,f\ng,h\n',
        [("csv_open_quote", 3)],
        3,
    ),
    "csv, a quote open for megabytes": (
        b'instruction,output\na,b\n"c,d\n' + (b"e," + b"f" * 97 + b"\n") * 20_000,
        [("csv_open_quote", 3), ("duplicate_rows", None)],
        20_001,
    ),
    "csv, one line of megabytes": (
        b"instruction,output\na,b\n" + b"x" * 2_000_000 + b"\ne,f\n",
        [("row_too_long", 3)],
        2,
    ),
    "csv, text behind a closing quote": (
        b'instruction,output\n"a"b,c\nd,e\n',
        [("csv_invalid", 2)],
        1,
    ),
    "csv, a column named twice": (
        b"instruction,output,output\na,b,c\n",
        [("csv_duplicate_column", 1)],
        0,
    ),
    "csv, a line of latin-1": (
        b"instruction,output\na,b\nc,\xe9\nd,e\n",
        [("not_utf8", 3)],
        2,
    ),
    "csv, an empty answer": (b"instruction,output\na,\nc,d\n", [("output_empty", 2)], 1),
    "csv with other names": (
        b"question,answer\na,b\n",
        [("field_missing", 2), ("field_missing", 2)],
        0,
    ),
    "copies": (lines(GOOD, GOOD), [("duplicate_rows", None)], 2),
}

HARMLESS = {
    "a byte order mark": (b"\xef\xbb\xbf" + lines(GOOD, ALSO), {"bom"}),
    "a mark before an array": (b"\xef\xbb\xbf" + array(GOOD, ALSO), {"bom"}),
    "two files in one, each with a mark": (lines(GOOD, b"\xef\xbb\xbf" + ALSO), {"bom"}),
    "Windows line ends": (lines(GOOD, ALSO).replace(b"\n", b"\r\n"), {"crlf"}),
    "blank lines": (lines(GOOD, b"", ALSO), {"blank_lines"}),
    "no line end": (GOOD + b"\n" + ALSO, set()),
    "an array in one line": (b"[" + GOOD + b"," + ALSO + b"]", set()),
    "an array spread out": (
        json.dumps([json.loads(GOOD), json.loads(ALSO)], indent=4).encode(),
        set(),
    ),
    "white space before": (b"\n\n  " + array(GOOD, ALSO), set()),
    "input null": (
        lines(b'{"instruction": "a", "input": null, "output": "b"}', ALSO),
        {"null_read_as_empty"},
    ),
    "other columns": (
        lines(b'{"instruction": "a", "output": "b", "id": 7, "x/y": {}}', ALSO),
        {"column_ignored"},
    ),
    "csv": (b"instruction,input,output\na,b,c\nd,,e\n", set()),
    "tabs": (b"instruction\toutput\na, b\tc; d\ne\tf\n", set()),
    "semicolons": (b'instruction;output\n"a;b";c,d\ne;f\n', set()),
    "csv with line breaks, quotes and brackets in cells": (
        b'"instruction","output"\r\n"a\r\n{""b"": 1}","[c]"\r\n"d","e"\r\n',
        {"crlf"},
    ),
    "csv with a mark, a nameless column and a blank line": (
        b"\xef\xbb\xbf,instruction,output\n0,a,b\n\n1,c,d\n",
        {"bom", "column_ignored", "blank_lines"},
    ),
    "csv of one column": (b"text\na\nb\n", {"text_only"}),
    "csv with a history": (
        b'instruction,output,history\na,b,"[[""c"", ""d""]]"\ne,f,\n',
        set(),
    ),
    "text alone": (
        lines(b'{"text": "t"}', b'{"text": "u", "instruction_id": 1}'),
        {"text_only", "column_ignored"},
    ),
}

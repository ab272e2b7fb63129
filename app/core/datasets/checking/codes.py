"""Every code a dataset report can hold, with its severity and what to do about it.

An error makes the dataset invalid, and its row is kept out of the canonical rows. A warning or an
info never does. Codes are an interface: add, never rename.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "info"]


class Code(NamedTuple):
    severity: Severity
    hint: str


_ACCEPTED = (
    "Upload a JSON array, JSON Lines or CSV, UTF-8, or Parquet, each row with `instruction` and "
    "`output`, `prompt` and `completion`, `messages`, `conversations` or `text`."
)
_UTF8 = "Save the file as UTF-8, for example `iconv -f <its encoding> -t UTF-8 in > out`."

CODES: Mapping[str, Code] = {
    # The file
    "file_empty": Code("error", _ACCEPTED),
    "no_rows": Code("error", _ACCEPTED),
    "format_unsupported": Code("error", _ACCEPTED),
    "format_mismatch": Code("warning", "Leave `format` out, or name the format the file has."),
    "wrapped_in_object": Code("error", "Upload the list alone, without the object around it."),
    "objects_span_lines": Code("warning", "Write one object per line: `jq -c . in > out`."),
    "rows_mixed": Code("error", "Give every row of a file the same form."),
    "text_only": Code("info", 'Train it with `template: "text"` and `train_on: "all"`.'),
    "column_ignored": Code("info", "Nothing to do: this column is not trained."),
    "duplicate_rows": Code("warning", "Remove the copies, unless they are meant to weigh more."),
    "duplicates_partial": Code("info", "Look for copies in a file this size yourself."),
    "bom": Code("info", "Nothing to do: the byte order mark was left out."),
    "crlf": Code("info", "Nothing to do: Windows line ends are read like any others."),
    "blank_lines": Code("info", "Nothing to do: blank lines are not rows."),
    "files_mixed": Code("error", "Give a dataset files of one format."),
    # Packed files
    "gzip_invalid": Code("error", "Pack it again, or upload the file unpacked."),
    "gzip_content": Code("error", "Pack one JSON, JSON Lines or CSV file alone, and once."),
    "parquet_invalid": Code("error", "Write the file again with a Parquet library, whole."),
    "parquet_encrypted": Code("error", "Write the file without encryption."),
    "unpacked_too_large": Code("error", "Split the file, or upload it unpacked as JSON Lines."),
    # Bytes and syntax
    "not_utf8": Code("error", _UTF8),
    "row_too_long": Code("error", "Split the row, or take out what is not training text."),
    "too_deep": Code("error", "A row is one flat object; take the nested values out."),
    "json_truncated": Code("error", "The file was probably cut off: write or upload it again."),
    "json_trailing_comma": Code("error", "Remove the comma."),
    "json_missing_comma": Code("error", "Put a comma between the two values."),
    "json_comment": Code("error", "JSON has no comments: remove it."),
    "json_single_quotes": Code("error", 'Use double quotes ("): write it with a JSON library.'),
    "json_python_literal": Code("error", "Write true, false, null: `json.dumps`, not `str`."),
    "json_not_finite": Code(
        "error", "JSON has no NaN and no Infinity: write a text, or remove the row."
    ),
    "json_control_character": Code("error", r"Escape it inside strings: \n, \t, \u0000."),
    "json_bad_escape": Code("error", r"Write a backslash as \\ inside strings."),
    "json_extra_data": Code("error", "Put each object on a line of its own, and nothing else."),
    "json_duplicate_key": Code("error", "Keep one of the two: which one is meant is not clear."),
    "json_invalid": Code("error", "Write the file with a JSON library."),
    "csv_duplicate_column": Code("error", "Give every column a name of its own."),
    "csv_wrong_width": Code("error", 'Put a cell with the delimiter in it in quotes: "a, b".'),
    "csv_open_quote": Code("error", 'Close the quote; a quote inside a cell is doubled: "".'),
    "csv_invalid": Code("error", "Write the file with a CSV library."),
    # A row
    "not_an_object": Code("error", 'A row is {"instruction": "...", "output": "..."}.'),
    "field_missing": Code("error", "Add the key, or remove the row."),
    "field_null": Code("error", "Give it a text, or remove the row."),
    "field_type": Code("error", "Make it a string."),
    "history_invalid": Code("error", 'History is [["request", "answer"], ...], oldest first.'),
    "instruction_empty": Code("error", "Write the request into `instruction`, or remove the row."),
    "output_empty": Code("error", "A row without an answer trains nothing: add one or remove it."),
    "messages_invalid": Code("error", 'Write [{"role": "user", "content": "..."}, ...].'),
    "role_unknown": Code("error", "The roles are system, user and assistant (human and gpt)."),
    "roles_not_alternating": Code(
        "error", "After an optional system message user and assistant take turns."
    ),
    "answer_missing": Code("error", "End the conversation in an assistant's message."),
    "content_not_text": Code("error", "Give every message a text; tool calls are not trained."),
    "weight_invalid": Code("error", "A weight is 0 or 1, and only answers have one."),
    "nothing_trained": Code("error", "Give an answer `weight` 1, or remove the row."),
    "null_read_as_empty": Code("info", "Nothing to do: null counts as no text here."),
    "lone_surrogate": Code("error", "Half of a character: write the pair, or the character."),
    "nul_character": Code("error", "Remove the NUL (U+0000); it is not text."),
    # An import
    "hub_unavailable": Code("error", "Import it again later, or upload the file."),
    "hub_import_refused": Code("error", "Import another repository, or upload the file."),
    "hub_file_wrong": Code("error", "Import it again; if it stays, name another `revision`."),
    # The validator itself
    "problems_truncated": Code("warning", "Repair these and upload again; counts are complete."),
    "validator_out_of_memory": Code("error", "Split the file into smaller ones."),
    "validator_timeout": Code("error", "Split the file into smaller ones, or try again."),
    "validator_crashed": Code("error", "Try again; if it stays, report it with the dataset's id."),
}

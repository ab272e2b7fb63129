"""Every code a dataset report can contain, with its severity and what to do about it.

An error makes the dataset invalid, and its row is left out of the canonical rows. A warning or an
info does neither. Codes are a stable interface: add, never rename.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "info"]


class Code(NamedTuple):
    severity: Severity
    hint: str


_ACCEPTED = (
    "Upload a JSON array, JSON Lines or CSV in UTF-8, or Parquet. Each row needs `instruction` and "
    "`output`, `prompt` and `completion`, `messages`, `conversations` or `text`."
)
_UTF8 = "Save the file as UTF-8, for example `iconv -f <its encoding> -t UTF-8 in > out`."

CODES: Mapping[str, Code] = {
    # The file
    "file_empty": Code("error", _ACCEPTED),
    "no_rows": Code("error", _ACCEPTED),
    "format_unsupported": Code("error", _ACCEPTED),
    "format_mismatch": Code("warning", "Omit `format`, or set it to the format of the file."),
    "wrapped_in_object": Code("error", "Upload only the list, without the object around it."),
    "objects_span_lines": Code("warning", "Write one object per line: `jq -c . in > out`."),
    "rows_mixed": Code("error", "Use one row format for all rows of a dataset."),
    "text_only": Code("info", 'Train it with `template: "text"` and `train_on: "all"`.'),
    "message_key_ignored": Code("info", "Nothing to do: this key of messages is not read."),
    "message_mask_ignored": Code(
        "warning", "Mark a message that is not to be trained with `weight: 0` or `train: false`."
    ),
    "label_false": Code(
        "warning",
        "Remove these rows, or let the job skip them: `on_invalid_row` and `max_skip_share`.",
    ),
    "label_ignored": Code("warning", "If 0 marks bad answers, remove these rows."),
    "preference_ignored": Code("warning", "If the answer is not the better one, correct the row."),
    "media_ignored": Code("warning", "If the answers depend on them, remove these rows."),
    "tools_ignored": Code(
        "warning", "Tools need rows of `messages`, or `instruction` and `output`."
    ),
    "column_ignored": Code("info", "Nothing to do: this column is not trained on."),
    "duplicate_rows": Code("warning", "Remove the copies, unless these rows should count more."),
    "duplicates_partial": Code("info", "Check a file of this size for copies before the upload."),
    "bom": Code("info", "Nothing to do: the byte order mark was ignored."),
    "crlf": Code("info", "Nothing to do: Windows line endings are accepted."),
    "blank_lines": Code("info", "Nothing to do: blank lines are not rows."),
    "files_mixed": Code("error", "Use files of one format in a dataset."),
    # Compressed files
    "gzip_invalid": Code("error", "Compress it again, or upload the file uncompressed."),
    "gzip_content": Code("error", "Compress a single JSON, JSON Lines or CSV file, once."),
    "parquet_invalid": Code("error", "Write the complete file again with a Parquet library."),
    "parquet_encrypted": Code("error", "Write the file without encryption."),
    "unpacked_too_large": Code("error", "Split the file, or upload it uncompressed as JSON Lines."),
    # Bytes and syntax
    "not_utf8": Code("error", _UTF8),
    "row_too_long": Code("error", "Split the row, or remove what is not training text."),
    "too_deep": Code("error", "A row is a flat object: remove the nested values."),
    "json_truncated": Code("error", "The file was probably cut off: write or upload it again."),
    "json_trailing_comma": Code("error", "Remove the comma."),
    "json_missing_comma": Code("error", "Put a comma between the two values."),
    "json_comment": Code("error", "JSON has no comments: remove it."),
    "json_single_quotes": Code(
        "error", 'Use double quotes ("), or write the file with a JSON library.'
    ),
    "json_python_literal": Code("error", "Write true, false or null: use `json.dumps`, not `str`."),
    "json_not_finite": Code(
        "error", "JSON has no NaN or Infinity: write a string, or remove the row."
    ),
    "json_control_character": Code("error", r"Escape it inside strings: \n, \t, \u0000."),
    "json_bad_escape": Code("error", r"Write a backslash as \\ inside strings."),
    "json_extra_data": Code("error", "Put one object on each line, and nothing else."),
    "json_duplicate_key": Code("error", "Keep one of the two: it is unclear which one is meant."),
    "json_invalid": Code("error", "Write the file with a JSON library."),
    "csv_duplicate_column": Code("error", "Give every column a unique name."),
    "csv_wrong_width": Code("error", 'Quote a cell that contains the delimiter: "a, b".'),
    "csv_open_quote": Code("error", 'Close the quote; double a quote inside a cell: "".'),
    "csv_invalid": Code("error", "Write the file with a CSV library."),
    # A row
    "not_an_object": Code("error", 'A row is {"instruction": "...", "output": "..."}.'),
    "field_missing": Code("error", "Add the key, or remove the row."),
    "field_null": Code("error", "Set it to a string, or remove the row."),
    "field_type": Code("error", "Make it a string."),
    "history_invalid": Code("error", '`history` is [["request", "answer"], ...], oldest first.'),
    "instruction_empty": Code("error", "Write the request into `instruction`, or remove the row."),
    "output_empty": Code(
        "error", "A row without an answer trains nothing: add one, or remove the row."
    ),
    "messages_invalid": Code("error", 'Write [{"role": "user", "content": "..."}, ...].'),
    "role_unknown": Code(
        "error", "The roles are system, user, assistant (human and gpt) and tool (observation)."
    ),
    "roles_not_alternating": Code(
        "error", "After an optional system message, user and assistant must alternate."
    ),
    "answer_missing": Code("error", "End the conversation with an assistant message."),
    "content_not_text": Code(
        "error", "Give every message text content; images, audio and video are not supported."
    ),
    "tools_invalid": Code(
        "error", 'Write [{"type": "function", "function": {"name": "...", "parameters": {}}}, ...].'
    ),
    "tool_call_invalid": Code(
        "error", 'A call is {"type": "function", "function": {"name": "...", "arguments": {}}}.'
    ),
    "tool_answer_invalid": Code(
        "error", "Put a tool's answer after the message with the call it answers."
    ),
    "weight_invalid": Code(
        "error", "`weight` is 0 or 1, `train` is true or false, and only answers have them."
    ),
    "answer_unwanted": Code(
        "error", "Remove the row; rename the column if it says something else than good or bad."
    ),
    "preference_data": Code("error", "Upload one answer per row."),
    "media_unsupported": Code("error", "Remove the row: only text is trained."),
    "nothing_trained": Code("error", "Give an answer `weight` 1, or remove the row."),
    "null_read_as_empty": Code("info", "Nothing to do: null is read as empty here."),
    "lone_surrogate": Code(
        "error", "Write both halves of the surrogate pair, or the character itself."
    ),
    "nul_character": Code("error", "Remove the NUL (U+0000); it is not text."),
    # An import
    "hub_unavailable": Code("error", "Import it again later, or upload the file."),
    "hub_import_refused": Code("error", "Import another repository, or upload the file."),
    "hub_file_wrong": Code(
        "error", "Import it again; if the error persists, try another `revision`."
    ),
    # The validator itself
    "problems_truncated": Code("warning", "Fix these and upload again; the counts are complete."),
    "validator_out_of_memory": Code("error", "Split the file into smaller ones."),
    "validator_timeout": Code("error", "Split the file into smaller ones, or try again."),
    "validator_crashed": Code(
        "error", "Try again; if the error persists, report it with the dataset's id."
    ),
}

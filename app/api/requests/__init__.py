"""Request parsing: JSON bodies, multipart, form fields, and the wording of validation errors."""

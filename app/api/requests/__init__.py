"""What comes in: bodies, multipart, form fields, and the words in which a wrong one is refused."""

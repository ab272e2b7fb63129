"""What takes longer than a request may: counted once in a child, stored by its key."""

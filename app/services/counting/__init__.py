"""Results that take longer than a request may: counted once in a child, stored by key."""

"""The coordinator: decides what to solve and what to ask next, and carries it out."""

"""A `Network` as a file of another format, with a list of what that format has no words for."""

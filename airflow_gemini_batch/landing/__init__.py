"""The way of answers into a table or a file: typed, matched by key, failures apart."""

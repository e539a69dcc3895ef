"""Answers of batch jobs → typed rows of a table or a file, merged by key."""

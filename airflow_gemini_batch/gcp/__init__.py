"""Where requests and answers lie: Cloud Storage files, read as streams, and BigQuery tables, read by SQL.

Both rooms answer the same questions: which version of the data is there, how many requests it holds, and what
became of them. They take a ready client of the Google library.
"""

"""``gemini-batch report``: one HTML page about the jobs of the last days."""

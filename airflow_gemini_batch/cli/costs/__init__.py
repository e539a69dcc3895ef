"""``gemini-batch costs``: what runs have spent, out of ledgers."""

"""The batch-job API of Vertex AI, waiting and asynchronous.

Jobs are created through ``google-genai``. They are read as plain JSON from the same REST resource: the
library's parsed job drops labels, partial failures and the output dataset, fails on some errors, throws away
the project and location of a full job name, and costs thirty times the CPU of the JSON it is made from.
"""

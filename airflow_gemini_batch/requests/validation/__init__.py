"""What Vertex AI asks of the requests of a batch job, as the preflight reports it before a job is submitted.

The local Vertex AI server has rules of its own, so that neither can hide the other's mistakes. Messages that the
service is known to send are in its own words.
"""

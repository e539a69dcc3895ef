"""What Vertex AI asks of the requests of a batch job.

One set of rules for the preflight, which reports problems before a job is submitted, and for the local Vertex AI
server, which rejects rows as the service does. Messages that the service is known to send are in its own words.
"""

"""For users of ``apache-airflow-providers-common-ai``."""

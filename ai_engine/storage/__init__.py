"""Files of jobs: local disk or S3."""

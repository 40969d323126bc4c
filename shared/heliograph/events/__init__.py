"""What is told of a job, as CloudEvents 1.0."""

"""From what a client wrote to a job that may be stored: judged against what the backend or the queue announced."""

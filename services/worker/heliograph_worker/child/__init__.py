"""The child process: a warden that holds the tree of processes, and a runner in which the backends run."""

"""The job: its states, its model, its store, and the service that keeps its promises."""

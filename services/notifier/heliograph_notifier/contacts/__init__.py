"""The contact directory: who is told of a study, a project or a site, besides whoever submitted the work."""

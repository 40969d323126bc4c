"""Who calls: tokens and what their roles allow."""

"""Where trio starts: the run that servers share with other threads, and what it does for requests."""

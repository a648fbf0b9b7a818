"""What you test your handlers with."""

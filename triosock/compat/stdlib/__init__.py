"""What the standard library's module has, hook for hook."""

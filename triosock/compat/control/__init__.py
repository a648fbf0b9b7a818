"""What a program may ask of a server beyond the standard library."""

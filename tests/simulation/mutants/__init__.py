"""Faults of kinds that real servers had, put into a copy of triosock: how many of them simulation finds."""

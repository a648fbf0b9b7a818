"""Who is being served by a compat server: one record a request.

Imports nothing heavy: a forking server pays for each page of its process with every fork.
"""

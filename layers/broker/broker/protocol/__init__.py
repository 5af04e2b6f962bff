"""The rules of the OAuth wire: errors, parameters, client authentication, PKCE, redirect matching, responses, metadata.

Pure functions without I/O. This package imports nothing else of the broker.
"""

"""Fake OAuth providers that speak the documented dialects strictly.

Written from the providers' public guides and, where these are silent, from RFC 6749. It must never share code with the
broker: two readings of the same guides have to meet on the wire, or passing tests would prove nothing.
"""

"""The operator's command `broker`: registers clients and providers, explains logins, makes the first keys.

It works on the tables and secrets directly, with the operator's own AWS credentials. A client's secret is shown once,
to the operator who made it, and never again; nothing here opens or prints what a login holds.
"""

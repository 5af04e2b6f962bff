"""Upstream: the broker as an OAuth 2.0 client of many providers, each with its own dialect.

Providers are data (`schema`, `catalogue`), read by one interpreter (`dialect`) over one bounded HTTP client (`http`);
whatever goes wrong is classified once (`failures`). Nothing in here knows a provider's name, keeps state between
calls or talks to the broker's own tables.
"""

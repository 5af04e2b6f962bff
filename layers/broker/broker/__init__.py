"""The token broker: an OAuth 2.1 authorization server downstream, an OAuth client of many providers upstream."""

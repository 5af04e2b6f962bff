"""DynamoDB: the Registry (clients, providers) and the Grants. Every write that decides something is conditional."""

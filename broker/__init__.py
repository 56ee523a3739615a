"""The test broker: certificates, accounts, listeners and the clock service."""

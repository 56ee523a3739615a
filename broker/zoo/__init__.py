"""The certificate zoo: one listener for each way a server's chain can be right or wrong."""

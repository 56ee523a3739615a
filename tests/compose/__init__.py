"""`make test-compose`: compose.yaml and broker/Dockerfile, tried on a real Docker engine."""

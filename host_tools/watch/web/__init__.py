"""The watcher's page: what is in the ledger, in a browser, live."""

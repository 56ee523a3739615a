"""The anchorcam command: one package per verb group."""

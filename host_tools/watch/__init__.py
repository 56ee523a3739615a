"""The watcher: a subscriber that proves what arrived."""

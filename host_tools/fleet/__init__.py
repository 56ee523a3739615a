"""`anchorcam fleet`: many simulated cameras against one broker, to see where it ends."""

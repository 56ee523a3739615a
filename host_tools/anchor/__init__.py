"""Trust anchors: what a server sends, which root anchors it, and what a camera makes of it."""

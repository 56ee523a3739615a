"""Figures of speed, each measured side by side with what it is judged by."""

"""What runs on the camera. Imports nothing from the rest of the repository."""

"""From a config file to the files of a camera."""

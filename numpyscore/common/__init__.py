"""What comes in and goes out: inputs looked at once, arrays of any framework, files written whole."""

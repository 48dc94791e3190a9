"""Routes in the format of each gateway that follows them: written, and read back."""

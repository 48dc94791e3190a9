"""Routes in the words of the gateways that follow them, a module each: written, and read back."""

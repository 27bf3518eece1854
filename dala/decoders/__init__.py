"""What turns the bytes of a file into pixels, in a process of its own that only `dala.intake` talks to."""

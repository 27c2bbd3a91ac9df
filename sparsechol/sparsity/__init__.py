"""Which inputs each output of a program may depend on, found without running it on numbers."""

"""Commands of `whence`, a file a group: each has add_arguments(parser) and run(args) -> exit status."""

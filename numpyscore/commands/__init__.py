"""One file per command, named after it: HELP, arguments(parser), and run(args) -> exit code; cli.py lists them."""

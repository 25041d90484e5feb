"""Front ends of the program: the command line and, later, windows and the report."""

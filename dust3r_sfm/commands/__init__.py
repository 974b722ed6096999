"""The verbs of the command line: functions whose signatures are the flags, and whose docstrings are the help."""

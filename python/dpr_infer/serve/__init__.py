# The server. Needs dpr-infer[serve]; nothing outside this folder but cli/serve_command.py imports it.

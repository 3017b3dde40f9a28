# The routes of the HTTP API, one topic a file.

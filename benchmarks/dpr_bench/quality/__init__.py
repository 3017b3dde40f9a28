"""Quality of promptable recommendation: every system on the same queries, and how prompts are understood."""

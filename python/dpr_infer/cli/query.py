# Entry point of dpr-query.

from dpr_infer.cli import launch


def main() -> None:
    """Run dpr-query."""
    launch("dpr_infer.cli.query_command")

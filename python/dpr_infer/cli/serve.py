# Entry point of dpr-serve.

from dpr_infer.cli import launch


def main() -> None:
    """Run dpr-serve."""
    launch("dpr_infer.cli.serve_command")

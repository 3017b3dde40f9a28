# Entry point of dpr-bundle.

from dpr_infer.cli import launch


def main() -> None:
    """Run dpr-bundle."""
    launch("dpr_infer.cli.bundle_command")

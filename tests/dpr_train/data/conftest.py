# Folders of own data that tests write, with five users by default, each of whom took all of five items.

from collections.abc import Callable
from pathlib import Path

import pytest

ITEMS = "id,title,tags\n" + "".join(f"0{n},Title {n},even|all\n" for n in range(1, 6))
INTERACTIONS = "user,item,timestamp\n" + "".join(
    f"u{user},0{item},{1000 + item}\n" for user in range(5) for item in range(1, 6)
)


@pytest.fixture
def write_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write interactions.csv and items.csv; text or bytes, defaults that load as they are."""

    def write(interactions: str | bytes = INTERACTIONS, items: str | bytes = ITEMS) -> Path:
        for name, content in (("interactions.csv", interactions), ("items.csv", items)):
            data = content if isinstance(content, bytes) else content.encode()
            (tmp_path / name).write_bytes(data)
        return tmp_path

    return write

"""Draw docs/card.svg, the picture in the README, from the sample: `python scripts/make_pictures.py`."""

from __future__ import annotations

import io
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from rich.console import Console
from rich.text import Text

import ttplan
from ttplan.audit.keys import key_from_hex

ROOT = Path(__file__).parent.parent


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ids = (UUID(int=n) for n in range(1, 100))
        workspace = ttplan.open(
            Path(folder) / "s.duckdb",
            key=key_from_hex("11" * 32),
            clock=lambda: datetime(2026, 5, 1, 12, tzinfo=UTC),
            new_id=lambda: next(ids),
        )
        workspace.import_logs(ROOT / "data" / "requests.parquet", progress=False)
        card = repr(workspace.plan(ROOT / "data" / "routes.yaml", name="cheaper models for short chat and code"))
    console = Console(record=True, width=80, file=io.StringIO())
    console.print(Text(card))
    svg = console.export_svg(title="ttplan", unique_id="card")
    # No font from elsewhere: whoever looks has a monospace one.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", "monospace")
    (ROOT / "docs" / "card.svg").write_text(svg)


if __name__ == "__main__":
    main()

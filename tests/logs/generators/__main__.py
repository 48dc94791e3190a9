"""Write the files to tests/logs/fixtures: `python -m tests.logs.generators`."""

from __future__ import annotations

from tests.logs.generators.files import FIXTURES, files

for name, content in files().items():
    (FIXTURES / name).write_bytes(content)
    print(f"{len(content):>9,}  {name}")

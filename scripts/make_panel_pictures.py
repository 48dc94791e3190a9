"""Make the panel's pictures in docs/ from screenshots.

Run `pytest -m browser tests/browser` and look at the screenshots first.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent
SHOTS = ROOT / "build" / "screenshots"
PICTURES = {"applied-light.png": "panel-light.png", "stale-dark.png": "panel-dark.png"}
COLOURS = 64
"""Enough for a page of text, at a quarter of the size."""


def main() -> None:
    for shot, picture in PICTURES.items():
        with Image.open(SHOTS / shot) as image:
            image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
                ROOT / "docs" / picture, optimize=True
            )
        print(f"docs/{picture}: {(ROOT / 'docs' / picture).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

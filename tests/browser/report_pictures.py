"""Makes docs/report-light.png and docs/report-dark.png from a document of jetson-bench.

.venv/bin/python tests/browser/report_pictures.py bench.json docs
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from clipedge.benchmarks.reports.html import page_text
from clipedge.benchmarks.speed.document import read_document

WIDTH, MOST_HEIGHT = 1280, 5200  # pixels
COLOURS = 96  # of the palette: text and charts stay sharp, the file small


def main() -> None:
    """Write both pictures."""
    document, folder = read_document(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        page_file = Path(temporary) / "report.html"
        page_file.write_text(page_text(document), encoding="utf-8")
        chromium = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        for scheme in ("light", "dark"):
            page = chromium.new_page(viewport={"width": WIDTH, "height": 860}, color_scheme=scheme)
            page.goto(page_file.as_uri())
            picture = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
            picture = picture.crop((0, 0, WIDTH, min(picture.height, MOST_HEIGHT)))
            small = picture.quantize(COLOURS, dither=Image.Dither.NONE)
            small.save(folder / f"report-{scheme}.png", optimize=True)
            page.close()
        chromium.close()


if __name__ == "__main__":
    main()

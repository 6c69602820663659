"""Writes src/colour_tables.rs and colours.csv here. Ran with matplotlib 3.11.2, numpy 2.4.6.

colours.csv: for each map and each value of a fine grid the colour that matplotlib gives it.
"""

from pathlib import Path

import matplotlib
import numpy as np

HERE = Path(__file__).parent
assert matplotlib.__version__ == "3.11.2", matplotlib.__version__

lines = [
    "//! Colour maps as matplotlib 3.11.2 tabulates them: viridis, inferno and magma (public domain, by",
    "//! Nathaniel Smith and Stéfan van der Walt), turbo (Apache 2.0, by Anton Mikhailov for Google). Written",
    "//! by `tests/goldens/colours.py`.",
]
for name in ("viridis", "inferno", "magma", "turbo"):
    table = matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3].tolist()
    values = [f"0x{red:02x}{green:02x}{blue:02x}" for red, green, blue in table]
    lines += ["", "#[rustfmt::skip]", f"pub(crate) static {name.upper()}: [u32; 256] = ["]
    lines += ["    " + ", ".join(values[row : row + 8]) + "," for row in range(0, 256, 8)]
    lines += ["];"]
(HERE / "../../src/colour_tables.rs").write_text("\n".join(lines) + "\n")

rows = ["map,value,red,green,blue"]
for name in ("viridis", "inferno", "magma", "turbo", "jet"):
    for value in np.linspace(0, 1, 101, dtype=np.float32):
        red, green, blue, _ = matplotlib.colormaps[name](value, bytes=True)
        rows.append(f"{name},{value!s},{red},{green},{blue}")
(HERE / "colours.csv").write_text("\n".join(rows) + "\n")

"""Writes window.csv here. Ran with pydicom 3.0.2, numpy 2.4.6.

Values of a scan under DICOM's linear functions as pydicom applies them, and between numpy's
percentiles.
"""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing

assert pydicom.__version__ == "3.0.2", pydicom.__version__

scan = np.random.default_rng(0).integers(-1100, 1500, 60).astype(np.int16)
rows = ["function,first,second,value,grey"]


def add(function, first, second, grey):
    rows.extend(f"{function},{first},{second},{value},{level!r}" for value, level in zip(scan.tolist(), grey.tolist()))


for function in ("LINEAR", "LINEAR_EXACT"):
    for centre, width in ((40, 400), (-600.5, 1500), (35, 80), (100, 1), (7, 2)):
        header = Dataset()
        header.WindowCenter, header.WindowWidth = centre, width
        header.VOILUTFunction = function
        header.BitsStored, header.PixelRepresentation = 16, 1
        header.PhotometricInterpretation = "MONOCHROME2"
        # pydicom maps a window to the range of the stored kind, here that of 16 bits with a sign.
        values = apply_windowing(scan.copy(), header)
        add(function, centre, width, (values + 32768) / 65535)
for low, high in ((0, 100), (1, 99), (2.5, 97.5), (50, 60)):
    black, white = np.percentile(scan, [low, high])
    add("percentiles", low, high, np.clip((scan - black) / (white - black), 0, 1))
(Path(__file__).parent / "window.csv").write_text("\n".join(rows) + "\n")

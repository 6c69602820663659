"""Writes resize.json: images resized by torch and Pillow, to hold `scan_data::resize` against.

Run from this folder with the versions that the file then names:
    python make.py
"""

import json

import numpy as np
import PIL
import torch
from PIL import Image

# Height and width before and after: larger, smaller, mixed, odd ratios, one pixel.
SIZES = [
    ((5, 7), (10, 14)),
    ((5, 7), (13, 9)),
    ((4, 4), (4, 9)),
    ((1, 3), (6, 8)),
    ((12, 10), (6, 5)),
    ((13, 11), (5, 4)),
    ((9, 16), (4, 20)),
    ((8, 8), (1, 1)),
]

cases = []
for number, (before, after) in enumerate(SIZES):
    image = np.random.default_rng(number).random(before, dtype=np.float32)
    tensor = torch.from_numpy(image)[None, None]
    plain = torch.nn.functional.interpolate(tensor, after, mode="bilinear", align_corners=False)
    smooth = torch.nn.functional.interpolate(tensor, after, mode="bilinear", align_corners=False, antialias=True)
    pillow = np.asarray(Image.fromarray(image).resize((after[1], after[0]), Image.Resampling.BILINEAR))
    mask = torch.nn.functional.interpolate((tensor > 0.5).float(), after, mode="nearest-exact")
    enlarges = after[0] >= before[0] and after[1] >= before[1]
    if enlarges:
        assert torch.allclose(plain, smooth, atol=1e-6)
    cases.append(
        {
            "before": before,
            "after": after,
            "image": [float(f"{v:.8g}") for v in image.ravel()],
            # Plain bilinear where it enlarges, antialiased where it shrinks.
            "torch": [float(f"{v:.8g}") for v in (plain if enlarges else smooth).ravel()],
            "pillow": [float(f"{v:.8g}") for v in pillow.ravel()],
            "mask": [int(v) for v in mask.ravel()],
        }
    )

with open("resize.json", "w") as file:
    file.write('{"made_with": "torch %s, Pillow %s, numpy %s",\n"cases": [\n' % (torch.__version__, PIL.__version__, np.__version__))
    file.write(",\n".join(json.dumps(case) for case in cases))
    file.write("\n]}\n")

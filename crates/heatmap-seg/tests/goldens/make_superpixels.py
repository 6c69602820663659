"""Makes superpixels.json: images parted by scikit-image's SLIC.

Run with scikit-image 0.26.0, SciPy 1.17.1 and numpy 2.4.6:

    python crates/heatmap-seg/tests/goldens/make_superpixels.py

Images are stored in 255ths; their values are the f32 quotients, and scikit-image works on them in f64.
"""

import json
import pathlib

import numpy as np
import scipy
import skimage
from scipy import ndimage
from skimage.segmentation import slic

rng = np.random.default_rng(20263)
SETTINGS = [(12, 0.1, 10), (60, 0.05, 10), (60, 1.0, 3), (7, 0.3, 1)]


def image(shape, contrast, noise):
    axes = np.meshgrid(*[np.linspace(-1, 1, side) for side in shape], indexing="ij")
    lesion = sum((axis - 0.1) ** 2 for axis in axes) < 0.35
    values = 0.4 + contrast * lesion + noise * ndimage.gaussian_filter(rng.standard_normal(shape), 0.7)
    return np.rint(np.clip(values, 0, 1) * 255).astype(int)


cases = []
for name, pixels in {
    "image": image((33, 29), 0.3, 0.2),
    "speckle": rng.integers(0, 256, (24, 31)),
    "constant": np.full((17, 20), 90),
    "wide": image((5, 64), 0.3, 0.2),
    "tiny": image((2, 3), 0.3, 0.2),
    "volume": image((8, 11, 10), 0.3, 0.2),
    "slab": image((3, 19, 22), 0.3, 0.3),
}.items():
    grey = (pixels.astype(np.float32) / np.float32(255)).astype(float)
    runs = []
    for segments, compactness, iterations in SETTINGS:
        labels = slic(grey, segments, compactness, iterations, start_label=0, channel_axis=None)
        runs.append(
            {
                "segments": segments,
                "compactness": compactness,
                "iterations": iterations,
                "superpixels": labels.ravel().tolist(),
            }
        )
    cases.append({"name": name, "shape": list(grey.shape), "image": pixels.ravel().tolist(), "runs": runs})

target = pathlib.Path(__file__).with_name("superpixels.json")
made_by = {"scikit-image": skimage.__version__, "scipy": scipy.__version__, "numpy": np.__version__}
lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
target.write_text(f'{{"made_by":{json.dumps(made_by)},\n"cases":[\n{lines}\n]}}\n')
print(f"{target}: {len(cases)} cases")

"""Scores of masks: this workspace against MONAI, surface-distance, MedPy, mikan-rs and SciPy.
`cargo xtask bench-peers metrics`.

Both sides have the same masks, made by the same formula: 155×240×240 voxels with two ellipsoids at a spacing of
1.5×1×1, and 512×512 pixels with two disks. All our surface measures together are held against one measure of each
peer, but for mikan-rs, which has no one without the others. Whether our time is linear in the voxels is held against
ourselves: a cube of twice the side has 8 times the voxels. A transform goes through all of memory, where larger strides
cost more; a quarter is left for that.
"""

import warnings
from importlib.metadata import version

import numpy as np
import torch
from scipy import ndimage

# surface-distance 0.1 was written for older versions of numpy and SciPy, which had these names.
np.Inf, np.NaN = np.inf, np.nan
ndimage.filters, ndimage.morphology = ndimage, ndimage

import medpy.metric.binary as medpy
import mikan
import monai.metrics
import surface_distance

from interleave import HEADER, Table

warnings.simplefilter("ignore")
NAMES = {name: f"{name} {version(name)}" for name in ("monai", "surface-distance", "MedPy", "mikan-rs", "scipy")}
SPACING = (1.5, 1.0, 1.0)


def ellipsoid(centre, half):
    grid = np.ogrid[:155, :240, :240]
    return sum(((axis - c) / h) ** 2 for axis, c, h in zip(grid, centre, half)) <= 1


def disk(centre, radius):
    y, x = np.ogrid[:512, :512]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


prediction = ellipsoid((77, 120, 120), (30, 45, 40))
truth = ellipsoid((82, 128, 112), (32, 40, 45))
one_hot = [torch.from_numpy(mask)[None, None] for mask in (prediction, truth)]
labels = [mask.astype(np.uint8) for mask in (truth, prediction)]
flat = disk((250, 250), 100), disk((265, 270), 110)
flat_one_hot = [torch.from_numpy(mask)[None, None] for mask in flat]


def monai_hd95(masks, spacing):
    return monai.metrics.compute_hausdorff_distance(*masks, include_background=True, percentile=95, spacing=spacing)


def robust_hausdorff():
    distances = surface_distance.compute_surface_distances(truth, prediction, SPACING)
    return surface_distance.compute_robust_hausdorff(distances, 95)


def mikan_hd95():
    # Written in Rust; its wheel passes the arrays on as they are. Spacing is x, y, z.
    return mikan.ArrayEvaluator(*labels, SPACING[::-1]).labels(1).metrics("hd95")


table = Table("metrics", "peers_metrics")
print(f"numpy {np.__version__}, {', '.join(NAMES.values())}, {torch.get_num_threads()} threads\n\n{HEADER}", flush=True)

case = "all surface measures, 155x240x240"
table.add(case, "surface", f"{NAMES['monai']}, HD95 alone", lambda: monai_hd95(one_hot, SPACING), 1 / 5)
table.add(case, "surface", f"{NAMES['surface-distance']}, HD95 alone", robust_hausdorff, 1 / 5)
table.add(case, "surface", f"{NAMES['MedPy']}, HD95 alone", lambda: medpy.hd95(prediction, truth, SPACING), 1 / 5,
          rounds=5)
table.add(case, "surface", f"{NAMES['mikan-rs']}, all its measures", mikan_hd95, 1 / 5)

for ours, name, side, bar in (
    ("surface", "surface measures", 256, 8),
    ("surface", "surface measures", 512, 8),
    ("transform", "distance transform", 512, 10),
):
    table.add(f"{name}, {side}x{side}x{side}", f"{ours}-{side}", f"ours, {side // 2}x{side // 2}x{side // 2}",
              f"{ours}-{side // 2}", bar, rounds=5)

case = "HD95, 512x512"
table.add(case, "flat", NAMES["MedPy"], lambda: medpy.hd95(*flat), 1 / 10, rounds=25)
table.add(case, "flat", NAMES["monai"], lambda: monai_hd95(flat_one_hot, (1.0, 1.0)), 1, rounds=25)

case = "Dice, 155x240x240"
table.add(case, "dice", "reading both masks once, all threads", "read", 2, rounds=25)
table.add(case, "dice", NAMES["MedPy"], lambda: medpy.dc(prediction, truth), 1, rounds=25)

table.add("distance transform, 155x240x240", "transform", NAMES["scipy"],
          lambda: ndimage.distance_transform_edt(~truth, sampling=SPACING), 1, rounds=5)
table.add("components, 155x240x240", "components", NAMES["scipy"], lambda: ndimage.label(truth), 1)

table.write()

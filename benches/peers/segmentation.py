"""Heatmaps to masks: this workspace against scikit-image and pydensecrf. `cargo xtask bench-peers segmentation`.

Both sides have the same heatmap and image, made by the same formula, and give a mask (SLIC: labels). The walker stops at
the tolerance that scikit-image has by default. pydensecrf gets the same features as ours, in f32, and the settings of its
own example.
"""

import importlib
import os
import subprocess
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from skimage import filters, segmentation

from interleave import HEADER, ROOT, Table

warnings.simplefilter("ignore")


def pydensecrf():
    """pydensecrf's module, or why there is none.

    Its release holds C++ that an old Cython made, which no longer compiles. Cython 0.29 makes it anew, below
    target/peers, where it leaves the Python environment as it is.
    """
    tools, built = ROOT / "target/peers/cython", ROOT / "target/peers/pydensecrf"
    sys.path.append(str(built))
    try:
        import pydensecrf.densecrf
    except ImportError:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"]
        crf = ["--no-build-isolation", "--no-deps", "--no-binary", "pydensecrf", "pydensecrf==1.0rc3"]
        steps = [
            (tools, ["Cython==0.29.37", "setuptools<81", "wheel"], {}),
            (built, crf, {"PYTHONPATH": str(tools), "CYTHON_FORCE_REGEN": "1"}),
        ]
        for target, packages, variables in steps:
            done = subprocess.run([*pip, "--target", str(target), *packages], env=os.environ | variables,
                                  capture_output=True, text=True)
            if done.returncode != 0:
                lines = (done.stderr or done.stdout).strip().splitlines()
                return None, f"pydensecrf 1.0rc3 did not install: {lines[-1] if lines else done.returncode}"
        importlib.invalidate_caches()
        try:
            import pydensecrf.densecrf
        except ImportError as error:
            return None, f"pydensecrf 1.0rc3 did not install: {error}"
    return pydensecrf.densecrf, ""


def pair(side):
    """A heatmap around a lesion, and its speckled image in 0..=1."""
    y, x = np.ogrid[:side, :side]

    def far(centre):
        return (y / side - centre[0]) ** 2 + (x / side - centre[1]) ** 2

    speckle = ((y * 8191 + x * 131 + 7) * 2_654_435_761 >> 7) % 1009 / 1009
    image = np.where(far((0.5, 0.5)) < 0.05, 0.55, 0.3) + 0.15 * (speckle - 0.5)
    return np.exp(-18 * far((0.45, 0.55))).astype(np.float32), image.astype(np.float32)


def dense_crf(module, heatmap, features):
    """pydensecrf with a Gaussian of 3 pixels and weight 3 and a bilateral kernel of weight 10, in 5 iterations."""
    p = np.clip(heatmap.ravel(), 0.01, 0.99)
    places = np.array([axis.ravel() / 3 for axis in np.indices(heatmap.shape)], dtype=np.float32)

    def run():
        crf = module.DenseCRF(heatmap.size, 2)
        crf.setUnaryEnergy(-np.log(np.stack([1 - p, p])))
        crf.addPairwiseEnergy(places, compat=3)
        crf.addPairwiseEnergy(features, compat=10)
        return np.argmax(crf.inference(5), axis=0).reshape(heatmap.shape) == 1

    return run


crf_module, reason = pydensecrf()
table = Table("segmentation", "peers_segmentation")
SKIMAGE = f"scikit-image {version('scikit-image')}"
try:
    pyamg = f", pyamg {version('pyamg')}"
except PackageNotFoundError:
    pyamg = ""
print(f"numpy {np.__version__}, {SKIMAGE}{pyamg}, {os.cpu_count()} processors\n\n{HEADER}", flush=True)

heatmap, image = pair(512)
case = "Otsu 512x512, with the mask"
table.add(case, "otsu", "limit of 0.5 ms", 0.5, 1, rounds=51)
for case, ours, rule in [
    (case, "otsu", filters.threshold_otsu),
    ("multi-Otsu 512x512, 4 classes", "multi_otsu", lambda values: filters.threshold_multiotsu(values, 4)[-1]),
    ("Yen 512x512", "yen", filters.threshold_yen),
    ("Li 512x512", "li", filters.threshold_li),
    ("triangle 512x512", "triangle", filters.threshold_triangle),
    ("local threshold 512x512, Gaussian", "local", lambda values: filters.threshold_local(values, 51, mode="reflect")),
]:
    table.add(case, ours, SKIMAGE, lambda: heatmap > rule(heatmap), 1)
table.add("hysteresis 512x512", "hysteresis", SKIMAGE,
          lambda: filters.apply_hysteresis_threshold(heatmap, 0.3, 0.6), 1)

# Ours runs on all processors, these peers on one.
BUSY = f"Ours shares its work among {os.cpu_count()} processors, the peer has one: what else runs there slows ours alone."

heatmap, image = pair(320)
seeds = np.where(heatmap > 0.7, 2, np.where(heatmap <= 0.2, 1, 0))
case = "random walker 320x320"
for mode in ["cg_j", "cg_mg", "bf"] if pyamg else ["cg_j", "bf"]:
    table.add(case, "random_walker", f"{SKIMAGE}, {mode}",
              lambda: segmentation.random_walker(image, seeds, mode=mode) == 2, 0.3, rounds=9)
    table.explain(lambda peer: BUSY)
table.add("watershed 320x320, with the gradient", "watershed", SKIMAGE,
          lambda: segmentation.watershed(filters.sobel(image), seeds) == 2, 1)
table.add("SLIC 320x320, 400 superpixels", "slic", SKIMAGE,
          lambda: segmentation.slic(image, 400, 0.1, channel_axis=None), 1)

# The colours are the grey image, the same turned over and turned aside.
for name, ours, planes in [("grey", "dense_crf", [image]), ("RGB", "dense_crf_rgb", [image, image[::-1], image.T])]:
    case = f"dense CRF 320x320, {name}"
    if crf_module is None:
        table.leave_out(case, "pydensecrf", reason)
        continue
    features = [axis / 80 for axis in np.indices(image.shape)] + [(plane - image.min()) / 0.05 for plane in planes]
    features = np.array(features, dtype=np.float32).reshape(len(features), -1)
    table.add(case, ours, "pydensecrf 1.0rc3", dense_crf(crf_module, heatmap, features), 0.3, rounds=9)
    table.explain(lambda peer: BUSY)

table.write()

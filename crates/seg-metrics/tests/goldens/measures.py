"""Makes measures.json: scores of label maps, heatmaps and detections, and paired tests.

Run with scikit-learn 1.9.1, torchmetrics 1.9.0, MONAI 1.6.1, scikit-image 0.26.0, SciPy 1.17.1, numpy 2.4.6 and
torch 2.11.0 (a few seconds):

    python crates/seg-metrics/tests/goldens/measures.py

Inputs are decimal fractions or eighths that f32 and f64 hold, or labels.
"""

import json
import pathlib

import monai
import numpy as np
import scipy
import skimage
import sklearn
import torch
import torchmetrics
from monai.metrics import compute_generalized_dice
from monai.metrics.froc import compute_froc_score
from scipy import stats
from skimage import metrics as skimage_metrics
from sklearn import metrics
from torchmetrics.functional import classification

rng = np.random.default_rng(1960)


def label_maps():
    for classes, count, right in [(2, 60, 0.8), (3, 100, 0.5), (5, 200, 0.9), (4, 150, 0.0), (6, 90, 0.7)]:
        truth = rng.integers(0, classes, count)
        prediction = np.where(rng.random(count) < right, truth, rng.integers(0, classes, count))
        if classes == 6:
            truth[truth == 4] = 0  # Absent from the truth, not from the prediction.
        truth_ignored = np.where(rng.random(count) < 0.1, 255, truth)
        kept = truth_ignored != 255
        t, p = truth[kept], prediction[kept]
        # Sudre et al. 2017, near which MONAI is, in f32: a class absent from the truth has the largest weight.
        predicted, true, both = [np.bincount(x, minlength=classes)[1:] for x in (p, t, t[p == t])]
        weights = np.where(true > 0, 1 / np.maximum(true, 1) ** 2.0, 1 / true[true > 0].min() ** 2.0)
        generalised_dice = float(2 * (weights * both).sum() / (weights * (predicted + true)).sum())
        one_hot = [torch.eye(classes)[torch.from_numpy(x)].T[None] for x in (p, t)]
        peer = compute_generalized_dice(*one_hot, include_background=False, sum_over_classes=True).item()
        np.testing.assert_allclose(generalised_dice, peer, rtol=2e-6)
        information = skimage_metrics.variation_of_information(t, p)
        confusion = classification.multiclass_confusion_matrix(
            torch.from_numpy(prediction), torch.from_numpy(truth_ignored), classes, ignore_index=255
        )
        yield {
            "classes": classes,
            "prediction": prediction.tolist(),
            "truth": truth_ignored.tolist(),
            "counts": confusion.flatten().tolist(),
            "accuracy": metrics.accuracy_score(t, p),
            "matthews": metrics.matthews_corrcoef(t, p),
            "kappa": metrics.cohen_kappa_score(t, p),
            "adjusted_rand": metrics.adjusted_rand_score(t, p),
            "variation_of_information": information.tolist(),
            "dice": metrics.f1_score(t, p, average=None, labels=range(classes), zero_division=0).tolist(),
            "generalised_dice": generalised_dice,
        }


def heatmaps():
    for count, levels, signal in [(80, 8, 0.3), (200, 1024, 0.5), (300, 64, 0.0), (50, 4, 0.9)]:
        mask = rng.random(count) < 0.3
        mask[:2] = [True, False]
        heat = np.floor(np.clip(rng.random(count) * (1 - signal) + signal * mask, 0, 0.999) * levels) / levels
        heat = heat.astype(np.float32)
        tensors = torch.from_numpy(heat.astype(float)), torch.from_numpy(mask.astype(int))
        error = {
            norm: classification.binary_calibration_error(*tensors, n_bins=15, norm=norm).item()
            for norm in ["l1", "l2", "max"]
        }
        # Its bins are right, its sums are in f32.
        bins = np.minimum(np.floor(heat.astype(float) * 15), 14)
        parts = [heat[bins == at].astype(float) - mask[bins == at] for at in np.unique(bins)]
        gaps, shares = np.array([[abs(part.mean()), len(part) / count] for part in parts]).T
        calibration = [(shares * gaps).sum(), np.sqrt((shares * gaps**2).sum()), gaps.max()]
        np.testing.assert_allclose(calibration, [error["l1"], error["l2"], error["max"]], rtol=2e-6)
        dice = [metrics.f1_score(mask, heat > threshold, zero_division=0) for threshold in [0, *np.unique(heat)]]
        # Arras, Osman & Samek 2022; ties by every order of the tied pixels alike.
        size = int(mask.sum())
        last = np.sort(heat)[::-1][size - 1]
        above, tied = heat > last, heat == last
        rank = (mask & above).sum() + (mask & tied).sum() * (size - above.sum()) / tied.sum()
        yield {
            "heat": heat.astype(float).tolist(),
            "mask": mask.astype(int).tolist(),
            "average_precision": metrics.average_precision_score(mask, heat),
            "roc_auc": metrics.roc_auc_score(mask, heat),
            "brier": metrics.brier_score_loss(mask, heat.astype(float)),
            "calibration": calibration,
            "best_dice": max(dice),
            "energy_in_mask": float(heat[mask].astype(float).sum() / heat.astype(float).sum()),
            "relevance_rank": float(rank / size),
            "soft_dice": float(2 * heat[mask].astype(float).sum() / (heat.astype(float).sum() + size)),
        }


def pairs():
    for count, decimals in [(8, 6), (20, 6), (20, 1), (50, 6), (80, 6), (80, 2), (51, 6)]:
        first = np.round(rng.beta(5, 2, count), decimals)
        second = np.round(np.clip(first - rng.normal(0.05, 0.15, count), 0, 1), decimals)
        case = {"first": first.tolist(), "second": second.tolist()}
        for alternative in ["two-sided", "greater", "less"]:
            # scipy looks for equal sizes among rounded differences; so do we.
            result = stats.wilcoxon(first, second, alternative=alternative)
            case[f"wilcoxon_{alternative}"] = [float(result.statistic), float(result.pvalue)]
            resamples = np.inf if count <= 8 else 200_000
            test = stats.permutation_test(
                (first, second),
                lambda a, b, axis: (a - b).mean(axis=axis),
                permutation_type="samples",
                vectorized=True,
                alternative=alternative,
                n_resamples=resamples,
                batch=10_000,
                rng=np.random.default_rng(7),
            )
            case[f"permutation_{alternative}"] = float(test.pvalue)
        yield case


def detections():
    """MONAI's FROC takes the scores of hits and misses; its hits are each lesion's best."""
    for images, lesions, misses in [(5, 9, 12), (20, 30, 100), (3, 4, 0)]:
        hits = np.round(rng.normal(0.6, 0.2, lesions), 3)
        false = np.round(rng.normal(0.4, 0.2, misses), 3)
        thresholds = sorted({*hits, *false}, reverse=True)
        rates = np.array([(false >= threshold).sum() / images for threshold in thresholds])
        found = np.array([(hits >= threshold).sum() / lesions for threshold in thresholds])
        at = [0.125, 0.25, 0.5, 1, 2, 4, 8]
        # MONAI wants the points from the lowest threshold up to that above all scores.
        curve = [np.concatenate([x[::-1], [0]]) for x in (rates, found)]
        yield {
            "images": images,
            "hits": hits.tolist(),
            "misses": false.tolist(),
            "points": [[float(r), float(f)] for r, f in zip(rates, found)],
            "score": float(compute_froc_score(*curve, at)),
        }


p_values = np.round(rng.random(12) ** 3, 4)
order = np.argsort(p_values)
holm = np.empty(12)
holm[order] = np.minimum(1, np.maximum.accumulate(p_values[order] * np.arange(12, 0, -1)))
result = {
    "made_by": {
        "scikit-learn": sklearn.__version__,
        "torchmetrics": torchmetrics.__version__,
        "MONAI": monai.__version__,
        "scikit-image": skimage.__version__,
        "SciPy": scipy.__version__,
        "numpy": np.__version__,
        "torch": torch.__version__,
    },
    "label_maps": list(label_maps()),
    "heatmaps": list(heatmaps()),
    "pairs": list(pairs()),
    "detections": list(detections()),
    "holm": {"p_values": p_values.tolist(), "adjusted": holm.tolist()},
}
path = pathlib.Path(__file__).parent / "measures.json"
path.write_text(json.dumps(result, separators=(",", ":")) + "\n")
print(path.stat().st_size, "bytes")

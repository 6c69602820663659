"""Makes scores.json by scikit-learn and intervals.json by scipy.

Run with scikit-learn 1.9.1, scipy 1.17.1 and numpy 2.4.6 (about a minute):

    python crates/seg-metrics/tests/goldens/make.py

Inputs are stored as decimal fractions that f64 holds to the digit, so that Rust reads the same values.
"""

import json
import pathlib

import numpy as np
import scipy
import sklearn
from scipy import stats
from sklearn import metrics

rng = np.random.default_rng(1987)
folder = pathlib.Path(__file__).parent


def write(name, made_by, cases):
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (folder / name).write_text(f'{{"made_by":{json.dumps(made_by)},\n"cases":[\n{lines}\n]}}\n')
    print(f"{name}: {len(cases)} cases")


# Scores of classification, with many tied scores, few, and none.
scores = []
for count, decimals in [(12, 1), (60, 1), (60, 2), (200, 3), (35, 12)]:
    truth = rng.random(count) < 0.4
    truth[:2] = [True, False]
    score = np.round(np.clip(rng.normal(0.4 + 0.2 * truth, 0.2), 0, 1), decimals)
    predicted = score > 0.5
    tn, fp, fn, tp = metrics.confusion_matrix(truth, predicted, labels=[False, True]).ravel().tolist()
    scores.append(
        {
            "scores": score.tolist(),
            "truth": truth.astype(int).tolist(),
            "roc_auc": metrics.roc_auc_score(truth, score),
            "confusion": {"tp": tp, "fp": fp, "fn": fn, "tn": tn},
            "dice": metrics.f1_score(truth, predicted, zero_division=0),
            "iou": metrics.jaccard_score(truth, predicted, zero_division=0),
            "precision": metrics.precision_score(truth, predicted, zero_division=0),
            "recall": metrics.recall_score(truth, predicted),
            "specificity": metrics.recall_score(~truth, ~predicted),
            "accuracy": metrics.accuracy_score(truth, predicted),
            "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted),
        }
    )
write("scores.json", {"scikit-learn": sklearn.__version__, "numpy": np.__version__}, scores)


# BCa intervals. 200 000 resamples leave scipy's own noise well below that of 10 000.
def bca(data, statistic, level, resamples=200_000):
    result = stats.bootstrap(
        data,
        statistic,
        paired=len(data) > 1,
        vectorized=True,
        confidence_level=level,
        n_resamples=resamples,
        batch=2_000,
        method="BCa",
        rng=np.random.default_rng(7),
    )
    return [float(end) for end in result.confidence_interval]


def mean_of_groups(sums, counts, axis=-1):
    return sums.sum(axis=axis) / counts.sum(axis=axis)


def auc(score, positive, axis=-1):
    """The pairwise definition, over an axis of resamples."""
    score, positive = np.moveaxis(score, axis, -1), np.moveaxis(positive, axis, -1)
    difference = score[..., :, None] - score[..., None, :]
    pairs = (positive[..., :, None] > 0) & (positive[..., None, :] == 0)
    wins = (difference > 0) + 0.5 * (difference == 0)
    return (wins * pairs).sum((-1, -2)) / pairs.sum((-1, -2))


intervals = []
datasets = {
    "skewed": np.round(rng.beta(5, 1.5, 40), 4),
    "symmetric": np.round(rng.normal(0.5, 0.1, 100), 4),
    "few": np.round(rng.beta(2, 2, 8), 4),
    "successes": (rng.random(50) < 0.8).astype(float),
    "heavy tail": np.round(rng.lognormal(0, 1, 60), 4),
}
for name, values in datasets.items():
    for level in [0.95, 0.8]:
        low, high = bca((values,), np.mean, level)
        intervals.append(
            {
                "name": name,
                "level": level,
                "values": values.tolist(),
                "groups": list(range(len(values))),
                "statistic": "mean",
                "value": float(values.mean()),
                "low": low,
                "high": high,
            }
        )

groups = np.sort(rng.integers(0, 25, 120))
values = np.round(np.clip(rng.normal(0.6, 0.2, 25)[groups] + rng.normal(0, 0.05, 120), 0, 1), 4)
sums = np.array([values[groups == group].sum() for group in np.unique(groups)])
counts = np.array([(groups == group).sum() for group in np.unique(groups)], dtype=float)
low, high = bca((sums, counts), mean_of_groups, 0.95)
intervals.append(
    {
        "name": "groups",
        "level": 0.95,
        "values": values.tolist(),
        "groups": groups.tolist(),
        "statistic": "mean",
        "value": float(values.mean()),
        "low": low,
        "high": high,
    }
)

positive = np.arange(50) % 2
score = np.round(rng.normal(0.4 + 0.2 * positive, 0.15), 2)
low, high = bca((score, positive), auc, 0.95, resamples=50_000)
intervals.append(
    {
        "name": "area under the ROC curve",
        "level": 0.95,
        "values": score.tolist(),
        "positive": positive.tolist(),
        "groups": list(range(50)),
        "statistic": "auc",
        "value": metrics.roc_auc_score(positive, score),
        "low": low,
        "high": high,
    }
)
write("intervals.json", {"scipy": scipy.__version__, "numpy": np.__version__}, intervals)

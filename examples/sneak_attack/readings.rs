//! What the numbers say about the heatmaps, in sentences.

use std::cmp::Ordering;

use crate::summary::{ByClass, Mean, Network, Retraining, Scores, Segmentation};

/// A bootstrap over fewer groups than this gives no interval that can be trusted.
pub const LEAST_GROUPS: usize = 5;

/// What the rules' Dice on the test lesions, which come from `groups` groups, says about heatmaps against trivial
/// baselines.
pub fn segmentation(rules: &[&Segmentation], baselines: &[&Segmentation], groups: usize) -> String {
    let Some(chosen) = rules.iter().find(|row| row.chosen) else {
        return "No heatmap rule was chosen on validation.".to_owned();
    };
    if !chosen.dice.mean.is_finite() {
        return format!(
            "The heatmap rule chosen on validation, {}, has no Dice that could be computed.",
            chosen.rule
        );
    }
    let dice = Estimate::from(chosen.dice);
    let found = format!(
        "The heatmap rule chosen on validation, {}, reaches a mean Dice of {}",
        chosen.rule,
        dice.text()
    );
    let Some(rival) = highest(baselines) else {
        return found + "; there is no baseline to hold it against.";
    };
    let against = format!("{} with {}", rival.rule, Estimate::from(rival.dice).text());
    let no_verdict = |why: &str| format!("{found}; the best trivial baseline is {against}. {why}");
    if groups < LEAST_GROUPS {
        return no_verdict(&too_few("test lesions", groups));
    }
    let mut without = Vec::new();
    let mut close = Vec::new();
    if dice.interval.is_none() {
        without.push(chosen.rule.as_str());
    }
    for row in baselines.iter().filter(|row| row.dice.mean.is_finite()) {
        let other = Estimate::from(row.dice);
        if other.interval.is_none() {
            without.push(&row.rule);
        } else if dice.beside(other) != Some(Ordering::Greater) {
            close.push(row.rule.as_str());
        }
    }
    if !without.is_empty() {
        let names = enumerated(&without);
        return no_verdict(&format!("There is no interval for {names}, so there is no verdict."));
    }
    if rival.dice.mean >= chosen.dice.mean {
        let how = if dice.beside(rival.dice.into()) == Some(Ordering::Less) {
            "clearly below"
        } else {
            "no higher than"
        };
        return format!(
            "{found}, which is {how} the best trivial baseline, {against}: these results do not show that the \
             heatmaps locate the lesions."
        );
    }
    if close.is_empty() {
        format!(
            "{found}, and its interval lies above that of every trivial baseline, of which the best is {against}: the \
             heatmaps locate the lesions better than these guesses do."
        )
    } else {
        let rivals = enumerated(&close);
        format!(
            "{found}, which is higher than the best trivial baseline, {against}, but its interval does not lie above \
             that of {rivals}: the advantage is not clear on this many images."
        )
    }
}

/// What re-training on filtered images says about the heatmaps, with a caution where the filters give the class away.
///
/// The test images come from `groups` groups; `images` counts those of all parts.
pub fn retraining(network: &Network, groups: usize, images: ByClass) -> String {
    let mut sentences = against_controls(&network.retraining, groups);
    if network.retraining.iter().any(|row| row.filter != "unfiltered") {
        sentences.extend(sparse_caution(network.sparse_heatmaps, images));
    }
    sentences.join(" ")
}

/// What the filters' AUC on the test images, which come from `groups` groups, says about the heatmaps.
fn against_controls(rows: &[Retraining], groups: usize) -> Vec<String> {
    let auc = |filter: &str| -> Option<Estimate> {
        let Scores { auc, auc_interval, .. } = rows.iter().find(|row| row.filter == filter)?.scores;
        Some(Estimate::new(auc, auc_interval)).filter(|auc| auc.value.is_finite())
    };
    let against = |controls: [(Option<Estimate>, &str); 2]| -> String {
        let known: Vec<_> = controls
            .iter()
            .filter_map(|(auc, what)| Some(format!("{} {what}", (*auc)?.text())))
            .collect();
        if known.is_empty() {
            String::new()
        } else {
            format!(", against {}", known.join(" and "))
        }
    };
    let unfiltered = auc("unfiltered");
    let mut sentences = Vec::new();
    let mut verdicts = Vec::new();
    // Whether a comparison with its control could not be made for want of an interval.
    let mut undecided = false;

    if let Some(keep) = auc("keep-hottest") {
        let random = auc("keep-random");
        sentences.push(format!(
            "With the hottest pixels alone the AUC is {}{}.",
            keep.text(),
            against([
                (unfiltered, "on unfiltered images"),
                (random, "with a random region alone")
            ])
        ));
        match random.map(|random| keep.beside(random)) {
            Some(Some(order)) => {
                verdicts.push(order == Ordering::Greater);
                let (place, so) = match order {
                    Ordering::Greater => (
                        "lies above",
                        "the hottest pixels tell the classes apart better than a random region does",
                    ),
                    Ordering::Less => (
                        "lies below",
                        "the hottest pixels tell the classes apart worse than a random region does",
                    ),
                    Ordering::Equal => (
                        "does not lie above",
                        "it is not shown that the hottest pixels tell the classes apart better than a random region \
                         does",
                    ),
                };
                sentences.push(format!("Its interval {place} that of the random region: {so}."));
            }
            Some(None) => undecided = true,
            None => (),
        }
    }
    if let Some(remove) = auc("remove-hottest") {
        let random = auc("remove-random");
        sentences.push(format!(
            "Without the hottest pixels the AUC is {}{}.",
            remove.text(),
            against([
                (unfiltered, "on unfiltered images"),
                (random, "without a random region")
            ])
        ));
        match random.map(|random| remove.beside(random)) {
            Some(Some(order)) => {
                let below = order == Ordering::Less;
                verdicts.push(below);
                let (place, so) = if below {
                    (
                        "lies below",
                        "losing the hottest pixels costs more than losing a random region does",
                    )
                } else {
                    (
                        "does not lie below",
                        "it is not shown that losing the hottest pixels costs more than losing a random region does",
                    )
                };
                sentences.push(format!("Its interval {place} that of the removed random region: {so}."));
            }
            Some(None) => undecided = true,
            None => sentences.push(
                "Any removal may lower the AUC, and there is no removed random region to hold this against.".to_owned(),
            ),
        }
    }
    if !sentences.is_empty() && groups < LEAST_GROUPS {
        sentences.push(too_few("test images", groups));
    } else if undecided {
        sentences.push("Where an interval is missing there is no verdict.".to_owned());
    }
    let verdict = match verdicts.as_slice() {
        [true, true] => "Both results support the heatmaps.",
        [false, false] => "Neither result supports the heatmaps.",
        [_, _] => "The two results together are mixed evidence for the heatmaps.",
        _ => "",
    };
    if !verdict.is_empty() {
        sentences.push(verdict.to_owned());
    }
    sentences
}

/// How many heatmaps are flat or sparse, by class; `images` counts those of all parts.
pub fn heatmap_counts(network: &Network, images: ByClass) -> String {
    let (lesions, normals) = (images.lesion, images.normal);
    let (flat, sparse) = (network.flat_heatmaps, network.sparse_heatmaps);
    format!(
        "Heatmaps that say nothing or little (all parts): flat: {} of {lesions} lesions, {} of {normals} normals; \
         sparse: {} of {lesions} lesions, {} of {normals} normals. A sparse heatmap is zero on more of the image than \
         the filters leave, so that what they take as its hottest pixels is in part drawn by chance.",
        flat.lesion, flat.normal, sparse.lesion, sparse.normal
    )
}

/// A caution where sparse heatmaps are much more common in one class, so that filtering gives the class away.
fn sparse_caution(sparse: ByClass, images: ByClass) -> Option<String> {
    let (lesions, normals) = (images.lesion, images.normal);
    // More than 10 percentage points, in whole numbers; never so where a class has no image.
    let (of_lesions, of_normals) = (sparse.lesion * normals, sparse.normal * lesions);
    if 10 * of_lesions.abs_diff(of_normals) <= lesions * normals {
        return None;
    }
    let share = |count: usize, total: usize| format!("{:.0} %", 100.0 * count as f64 / total as f64);
    let (lesion_share, normal_share) = (share(sparse.lesion, lesions), share(sparse.normal, normals));
    let shares = if of_lesions > of_normals {
        format!("lesions ({lesion_share}) than among normals ({normal_share})")
    } else {
        format!("normals ({normal_share}) than among lesions ({lesion_share})")
    };
    Some(format!(
        "Caution: sparse heatmaps are much more common among {shares}, so the filtered region itself can tell the \
         class; a high AUC after filtering is weak evidence."
    ))
}

/// Why numbers stand without an interval; empty where there are groups enough.
pub fn footnote(test_groups: usize, lesion_groups: usize) -> String {
    let few: Vec<_> = [("test images", test_groups), ("test lesions", lesion_groups)]
        .into_iter()
        .filter(|&(_, groups)| groups < LEAST_GROUPS)
        .map(|(what, groups)| format!("the {what} come from {}", counted(groups)))
        .collect();
    if few.is_empty() {
        return String::new();
    }
    format!(
        "No interval is given: {}, too few for one, which takes at least {LEAST_GROUPS}.",
        few.join(" and ")
    )
}

/// Why there is no verdict on numbers of `groups` groups.
fn too_few(what: &str, groups: usize) -> String {
    format!(
        "The {what} come from {}, too few for an interval, so there is no verdict.",
        counted(groups)
    )
}

/// `1 group`, `2 groups`.
fn counted(groups: usize) -> String {
    format!("{groups} group{}", if groups == 1 { "" } else { "s" })
}

/// `a`, `a and b`, `a, b and c`.
fn enumerated(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [name] => (*name).to_owned(),
        [names @ .., last] => format!("{} and {last}", names.join(", ")),
    }
}

/// The row with the highest mean Dice; of equals the first.
pub fn highest<'a>(rows: &[&'a Segmentation]) -> Option<&'a Segmentation> {
    let finite = rows.iter().copied().filter(|row| row.dice.mean.is_finite());
    finite.reduce(|best, row| if row.dice.mean > best.dice.mean { row } else { best })
}

/// A value, and its interval where it has one.
#[derive(Debug, Clone, Copy)]
pub struct Estimate {
    value: f64,
    interval: Option<[f64; 2]>,
}

impl Estimate {
    pub fn new(value: f64, interval: Option<[f64; 2]>) -> Self {
        let interval = interval.filter(|ends| value.is_finite() && ends.iter().all(|end| end.is_finite()));
        Self { value, interval }
    }

    pub fn text(self) -> String {
        let value = decimals(self.value, 2);
        match self.interval {
            Some([low, high]) => format!("{value} ({low:.2}–{high:.2})"),
            None => value,
        }
    }

    /// On which side of the other's interval this one lies, equal where they overlap; `None` where one is missing.
    fn beside(self, other: Self) -> Option<Ordering> {
        let ([low, high], [other_low, other_high]) = (self.interval?, other.interval?);
        Some(if low > other_high {
            Ordering::Greater
        } else if high < other_low {
            Ordering::Less
        } else {
            Ordering::Equal
        })
    }
}

impl From<Mean> for Estimate {
    fn from(mean: Mean) -> Self {
        Self::new(mean.mean, Some([mean.low, mean.high]))
    }
}

/// `value` with `places` decimals, or a dash for what is no number.
pub fn decimals(value: f64, places: usize) -> String {
    if value.is_finite() {
        format!("{value:.places$}")
    } else {
        "–".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::samples::{ENOUGH, chosen, network, retrained, row, supporting};

    fn reading(rows: &[Segmentation]) -> String {
        let (baselines, rules): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.baseline);
        segmentation(&rules, &baselines, ENOUGH)
    }

    #[test]
    fn a_clear_win_needs_an_interval_above_every_baseline() {
        let best = chosen("otsu", 0.6, 0.5, 0.7);
        let clear = reading(&[best.clone(), row("everything", true, 0.2, 0.1, 0.3)]);
        assert!(
            clear.contains("0.60 (0.50–0.70), and its interval lies above that of every"),
            "{clear}"
        );

        let rows = [
            best.clone(),
            row("everything", true, 0.2, 0.1, 0.3),
            row("centred-disk", true, 0.48, 0.4, 0.55),
        ];
        let close = reading(&rows);
        assert!(close.contains("does not lie above that of centred-disk:"), "{close}");

        // A baseline below the best one may still have the wider interval.
        let rows = [
            best,
            row("everything", true, 0.2, 0.1, 0.6),
            row("centred-disk", true, 0.48, 0.47, 0.49),
        ];
        let wide = reading(&rows);
        assert!(wide.contains("does not lie above that of everything:"), "{wide}");
    }

    #[test]
    fn a_loss_and_missing_numbers_are_said() {
        let best = chosen("otsu", 0.3, 0.2, 0.4);
        let loss = reading(&[best.clone(), row("centred-disk", true, 0.6, 0.5, 0.7)]);
        assert!(
            loss.contains("clearly below the best trivial baseline, centred-disk with 0.60 (0.50–0.70)"),
            "{loss}"
        );
        let tie = reading(&[best.clone(), row("centred-disk", true, 0.3, 0.2, 0.4)]);
        assert!(tie.contains("no higher than the best trivial baseline"), "{tie}");
        let unknown = reading(&[best, row("centred-disk", true, 0.1, f64::NAN, f64::NAN)]);
        assert!(
            unknown.ends_with("There is no interval for centred-disk, so there is no verdict."),
            "{unknown}"
        );
        assert!(reading(&[chosen("otsu", f64::NAN, 0.0, 0.0)]).contains("has no Dice"));
        assert!(reading(&[row("otsu", false, 0.3, 0.2, 0.4)]).starts_with("No heatmap rule was chosen"));
        assert!(reading(&[]).starts_with("No heatmap rule was chosen"));
    }

    #[test]
    fn re_training_is_read_against_random_regions() {
        let rows = supporting();
        let [unfiltered, keep, remove, keep_random, remove_random] = rows.clone();
        let reading = |rows: &[&Retraining]| {
            let rows: Vec<_> = rows.iter().copied().cloned().collect();
            against_controls(&rows, ENOUGH).join(" ")
        };
        let good = against_controls(&rows, ENOUGH).join(" ");
        assert!(good.ends_with("Both results support the heatmaps."), "{good}");

        // Where any region that is removed costs as much, the hottest one shows nothing.
        let remove_less = retrained("remove-hottest", 0.84, 0.8, 0.9);
        let mixed = reading(&[&unfiltered, &keep, &remove_less, &keep_random, &remove_random]);
        assert!(
            mixed.contains("does not lie below that of the removed random region") && mixed.contains("mixed evidence"),
            "{mixed}"
        );

        let keep_less = retrained("keep-hottest", 0.65, 0.55, 0.75);
        let neither = reading(&[&unfiltered, &keep_less, &remove_less, &keep_random, &remove_random]);
        assert!(neither.ends_with("Neither result supports the heatmaps."), "{neither}");

        // Unfiltered images are no control for a removal.
        let uncontrolled = reading(&[&unfiltered, &keep, &remove, &keep_random]);
        assert!(
            uncontrolled.ends_with(
                "0.70 (0.60–0.79), against 0.90 (0.85–0.95) on unfiltered images. Any removal may lower the AUC, and \
                 there is no removed random region to hold this against."
            ),
            "{uncontrolled}"
        );
        let keep_uncontrolled = reading(&[&unfiltered, &keep, &remove, &remove_random]);
        assert!(
            keep_uncontrolled.contains("lies below that of the removed random region")
                && !keep_uncontrolled.contains("support"),
            "{keep_uncontrolled}"
        );

        let mut unknown = rows;
        unknown[1].scores.auc_interval = None;
        let unknown = against_controls(&unknown, ENOUGH).join(" ");
        assert!(
            unknown.starts_with("With the hottest pixels alone the AUC is 0.88, against")
                && unknown.ends_with("Where an interval is missing there is no verdict."),
            "{unknown}"
        );
        assert_eq!(reading(&[]), "");
    }

    #[test]
    fn flat_and_sparse_heatmaps_are_counted_by_class() {
        let images = ByClass { lesion: 40, normal: 60 };
        let counts = heatmap_counts(&network(), images);
        assert!(
            counts.contains("flat: 1 of 40 lesions, 2 of 60 normals; sparse: 3 of 40 lesions, 4 of 60 normals."),
            "{counts}"
        );
        let read = |lesion, normal| {
            let sparse_heatmaps = ByClass { lesion, normal };
            let network = Network {
                sparse_heatmaps,
                ..network()
            };
            retraining(&network, ENOUGH, images)
        };
        // A difference of just 10 percentage points is let pass.
        let even = read(4, 12);
        assert!(even.ends_with("Both results support the heatmaps."), "{even}");
        let normals = read(4, 13);
        assert!(
            normals.contains("more common among normals (22 %) than among lesions (10 %)")
                && normals.ends_with("a high AUC after filtering is weak evidence."),
            "{normals}"
        );
        let lesions = read(20, 0);
        assert!(
            lesions.contains("among lesions (50 %) than among normals (0 %)"),
            "{lesions}"
        );

        let mut unfiltered = network();
        unfiltered.sparse_heatmaps.lesion = 40;
        unfiltered.retraining.truncate(1);
        assert_eq!(retraining(&unfiltered, ENOUGH, images), "");
    }
}

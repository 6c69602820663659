use std::collections::HashMap;
use std::fmt;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::{Class, DataError, Scan};

/// How far the fractions may miss 1.
const SUM_TOLERANCE: f64 = 1e-6;

/// A part of a [`Split`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// What is learnt from.
    Train,
    /// What settings are chosen on.
    Validation,
    /// What is scored.
    Test,
}

impl Part {
    /// The parts in the order of the fractions.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        })
    }
}

/// Indices of scans in three parts, ascending in each. No group is in two parts, and every index is
/// in exactly one.
///
/// Groups are shuffled by the seed, ordered by size (largest first, the shuffle deciding between
/// equal ones), and each goes to the part with the largest deficit in its classes, which is the part
/// where it lowers most the squared deviation
///
/// ```text
/// Σ over parts p and classes c of ((images of c in p − fraction of p × images of c) / images of c)²
/// ```
///
/// Should a part then lack a class, groups are moved or swapped until none does. Nothing is improved
/// beyond that: with few patients the best split would be the same for every seed.
///
/// The result depends on the order of the scans, the fractions and the seed only.
///
/// ```
/// use scan_data::{Phantoms, Split};
///
/// let data = Phantoms::default().with_count(48).with_size(32).with_per_patient(4).generate()?;
/// let split = Split::by_group(&data.scans, [0.5, 0.25, 0.25], 7)?;
/// assert_eq!(split.train.len(), 24);
/// assert!(split.counts(&data.scans).parts.iter().all(|p| p.lesion > 0 && p.normal > 0));
/// # Ok::<(), scan_data::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// What is learnt from.
    pub train: Vec<usize>,
    /// What settings are chosen on.
    pub validation: Vec<usize>,
    /// What is scored.
    pub test: Vec<usize>,
}

impl Split {
    /// Splits scans by their [`group`](Scan::group), stratified by class; `fractions` are those of
    /// training, validation and test. A part with the fraction 0 stays empty.
    ///
    /// # Errors
    /// Fractions that are negative, not finite, 0 for training, or do not add up to 1; a part that
    /// would have no image of a class.
    pub fn by_group(scans: &[Scan], fractions: [f64; 3], seed: u64) -> Result<Self, DataError> {
        let groups: Vec<_> = scans.iter().map(|s| s.group.as_str()).collect();
        let lesions: Vec<_> = scans.iter().map(|s| s.lesion).collect();
        Self::of_groups(&groups, &lesions, fractions, seed)
    }

    /// [`by_group`](Self::by_group) from the group and the label of each image.
    ///
    /// # Errors
    /// As [`by_group`](Self::by_group), and slices of different lengths.
    pub fn of_groups(groups: &[&str], lesions: &[bool], fractions: [f64; 3], seed: u64) -> Result<Self, DataError> {
        if groups.len() != lesions.len() {
            return Err(DataError::SplitLengths {
                groups: groups.len(),
                lesions: lesions.len(),
            });
        }
        check(fractions)?;
        let mut assignment = Assignment::new(groups, lesions, fractions);
        let mut order: Vec<usize> = (0..assignment.groups.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        order.sort_by_key(|&g| std::cmp::Reverse(assignment.groups[g].size()));
        assignment.fill(&order);
        assignment.repair(&order);
        assignment.require_classes(fractions)?;

        let mut split = Self {
            train: Vec::new(),
            validation: Vec::new(),
            test: Vec::new(),
        };
        for (index, &group) in assignment.group_of.iter().enumerate() {
            match Part::ALL[assignment.part_of[group]] {
                Part::Train => split.train.push(index),
                Part::Validation => split.validation.push(index),
                Part::Test => split.test.push(index),
            }
        }
        Ok(split)
    }

    /// The indices of a part.
    pub fn part(&self, part: Part) -> &[usize] {
        match part {
            Part::Train => &self.train,
            Part::Validation => &self.validation,
            Part::Test => &self.test,
        }
    }

    /// How many scans and groups each part has. Indices beyond the scans are not counted.
    pub fn counts(&self, scans: &[Scan]) -> SplitCounts {
        let parts = Part::ALL.map(|part| {
            let scans: Vec<_> = self.part(part).iter().filter_map(|&i| scans.get(i)).collect();
            let lesion = scans.iter().filter(|s| s.lesion).count();
            let mut groups: Vec<_> = scans.iter().map(|s| s.group.as_str()).collect();
            groups.sort_unstable();
            groups.dedup();
            PartCounts {
                part,
                lesion,
                normal: scans.len() - lesion,
                groups: groups.len(),
            }
        });
        SplitCounts { parts }
    }
}

/// What one part holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartCounts {
    /// The part.
    pub part: Part,
    /// Images with a lesion.
    pub lesion: usize,
    /// Images without one.
    pub normal: usize,
    /// Different groups.
    pub groups: usize,
}

/// What the parts hold; its `Display` is a table of four lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitCounts {
    /// Training, validation and test.
    pub parts: [PartCounts; 3],
}

impl fmt::Display for SplitCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<10}  {:>6}  {:>6}  {:>6}", "part", "lesion", "normal", "groups")?;
        for PartCounts {
            part,
            lesion,
            normal,
            groups,
        } in self.parts
        {
            write!(f, "\n{part:<10}  {lesion:>6}  {normal:>6}  {groups:>6}")?;
        }
        Ok(())
    }
}

fn check(fractions: [f64; 3]) -> Result<(), DataError> {
    for (part, value) in Part::ALL.into_iter().zip(fractions) {
        if !(0.0..=1.0).contains(&value) || (part == Part::Train && value == 0.0) {
            return Err(DataError::Fraction { part, value });
        }
    }
    let sum: f64 = fractions.iter().sum();
    if (sum - 1.0).abs() > SUM_TOLERANCE {
        return Err(DataError::FractionSum { sum });
    }
    Ok(())
}

/// Images of one group: with a lesion, without.
#[derive(Debug, Clone, Copy, Default)]
struct Counts([f64; 2]);

impl Counts {
    fn size(self) -> usize {
        (self.0[0] + self.0[1]) as usize
    }
}

/// Which group goes to which part.
#[derive(Debug)]
struct Assignment {
    /// The group of each image, numbered by first appearance.
    group_of: Vec<usize>,
    groups: Vec<Counts>,
    totals: [f64; 2],
    /// Images of each class that each part should hold.
    targets: [[f64; 2]; 3],
    /// Images of each class that each part holds.
    held: [[f64; 2]; 3],
    part_of: Vec<usize>,
    open: [bool; 3],
}

impl Assignment {
    fn new(names: &[&str], lesions: &[bool], fractions: [f64; 3]) -> Self {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let (mut group_of, mut groups, mut totals) = (Vec::new(), Vec::new(), [0.0; 2]);
        for (&name, &lesion) in names.iter().zip(lesions) {
            let number = *numbers.entry(name).or_insert_with(|| {
                groups.push(Counts::default());
                groups.len() - 1
            });
            let class = usize::from(!lesion);
            groups[number].0[class] += 1.0;
            totals[class] += 1.0;
            group_of.push(number);
        }
        Self {
            group_of,
            part_of: vec![0; groups.len()],
            groups,
            targets: fractions.map(|f| totals.map(|total| f * total)),
            totals,
            held: [[0.0; 2]; 3],
            open: fractions.map(|f| f > 0.0),
        }
    }

    /// Puts each group into the open part with the largest deficit in the group's classes. Among
    /// the parts this choice lowers the squared deviation most.
    fn fill(&mut self, order: &[usize]) {
        for &group in order {
            let counts = self.groups[group];
            let gain = |part: usize| -> f64 {
                (0..2)
                    .filter(|&class| self.totals[class] > 0.0)
                    .map(|class| {
                        let deficit = self.targets[part][class] - self.held[part][class];
                        counts.0[class] * deficit / self.totals[class].powi(2)
                    })
                    .sum()
            };
            let mut best = 0;
            for part in 1..3 {
                if self.open[part] && gain(part) > gain(best) {
                    best = part;
                }
            }
            self.part_of[group] = best;
            for class in 0..2 {
                self.held[best][class] += counts.0[class];
            }
        }
    }

    /// Pairs of open part and class without an image, then the squared deviation.
    fn cost(&self, held: &[[f64; 2]; 3]) -> (usize, f64) {
        let (mut lacking, mut deviation) = (0, 0.0);
        for ((held, targets), open) in held.iter().zip(&self.targets).zip(self.open) {
            for ((held, target), total) in held
                .iter()
                .zip(targets)
                .zip(self.totals)
                .filter(|(_, total)| *total > 0.0)
            {
                lacking += usize::from(open && *held == 0.0);
                deviation += ((held - target) / total).powi(2);
            }
        }
        (lacking, deviation)
    }

    /// What the parts would hold if groups went to other parts.
    fn moved(&self, changes: &[(usize, usize)]) -> [[f64; 2]; 3] {
        let mut held = self.held;
        for &(group, to) in changes {
            for (class, count) in self.groups[group].0.into_iter().enumerate() {
                held[self.part_of[group]][class] -= count;
                held[to][class] += count;
            }
        }
        held
    }

    /// Until every open part has both classes: makes that move of one group, or swap of two, after
    /// which the fewest pairs of part and class lack an image and, among those, the deviation is
    /// least. Ends when nothing helps.
    fn repair(&mut self, order: &[usize]) {
        loop {
            let (lacking, _) = self.cost(&self.held);
            if lacking == 0 {
                return;
            }
            let part_of = &self.part_of;
            let moves = order
                .iter()
                .flat_map(|&group| (0..3).map(move |part| vec![(group, part)]));
            let swaps = order.iter().enumerate().flat_map(|(at, &a)| {
                order[at + 1..]
                    .iter()
                    .map(move |&b| vec![(a, part_of[b]), (b, part_of[a])])
            });
            let mut best = (lacking, f64::INFINITY, Vec::new());
            for changes in moves.chain(swaps) {
                if changes
                    .iter()
                    .all(|&(group, to)| self.open[to] && to != self.part_of[group])
                {
                    let (lacking, deviation) = self.cost(&self.moved(&changes));
                    if lacking < best.0 || (!best.2.is_empty() && lacking == best.0 && deviation < best.1) {
                        best = (lacking, deviation, changes);
                    }
                }
            }
            if best.2.is_empty() {
                return;
            }
            self.held = self.moved(&best.2);
            for (group, to) in best.2 {
                self.part_of[group] = to;
            }
        }
    }

    fn require_classes(&self, fractions: [f64; 3]) -> Result<(), DataError> {
        for part in Part::ALL {
            for (class, column) in [(Class::Lesion, 0), (Class::Normal, 1)] {
                if self.open[part as usize] && self.held[part as usize][column] == 0.0 {
                    let groups = self.groups.iter().filter(|g| g.0[column] > 0.0).count();
                    let parts = fractions.iter().filter(|&&f| f > 0.0).count();
                    return Err(DataError::SplitLacksClass {
                        part,
                        class,
                        groups,
                        parts,
                    });
                }
            }
        }
        Ok(())
    }
}

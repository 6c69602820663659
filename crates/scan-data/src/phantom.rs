use std::f32::consts::{PI, TAU};
use std::path::PathBuf;

use ndarray::{Array2, Zip};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::{DataError, Dataset, Scan};

const SIZES: std::ops::RangeInclusive<usize> = 32..=1024;

/// The share of a patch that a lesion covers.
const LESION_AREA: std::ops::Range<f32> = 0.045..0.245;

/// Streams of the generator: image `i` uses stream `i`, patients come after all images.
const FIRST_PATIENT_STREAM: u64 = 1 << 40;

/// Synthetic patches of tissue, some with a lesion and its exact mask: for demonstrations and tests
/// without patients' data.
///
/// Tissue is layered noise on several scales, drawn out along a direction, with bright strands,
/// speckle, a gradient of brightness and a gain. A lesion is an irregular star-convex blot anywhere
/// in the patch, with a soft rim, mostly darker and sometimes brighter than its surroundings, and
/// with a texture of its own; it covers 4 to 25 % of the patch. Small round cysts and bright streaks
/// are put into both classes alike, so neither a dark nor a bright spot alone gives the class away.
/// Patches of one patient share direction, scale, contrast and gain.
///
/// The same settings give the same patches, whatever the number of threads. The functions of the
/// platform's mathematics library are used, so another platform may differ in the last bits.
///
/// # Shapes
/// Images and masks `[size, size]`, values in 0..=1.
///
/// ```
/// let data = scan_data::Phantoms::default().with_count(6).with_size(48).with_seed(3).generate()?;
/// assert_eq!(data.class_counts(), (3, 3));
/// for scan in &data.scans {
///     let area = scan.mask.iter().filter(|&&m| m).count() as f32 / scan.mask.len() as f32;
///     assert!(if scan.lesion { (0.04..=0.25).contains(&area) } else { area == 0.0 });
/// }
/// # Ok::<(), scan_data::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Phantoms {
    count: usize,
    size: usize,
    lesion_fraction: f64,
    per_patient: usize,
    seed: u64,
}

impl Default for Phantoms {
    /// 200 patches of 96 × 96 pixels, half of them with a lesion, eight per patient, seed 0.
    fn default() -> Self {
        Self {
            count: 200,
            size: 96,
            lesion_fraction: 0.5,
            per_patient: 8,
            seed: 0,
        }
    }
}

impl Phantoms {
    /// How many patches.
    pub fn with_count(mut self, count: usize) -> Self {
        self.count = count;
        self
    }

    /// The side of a patch in pixels, 32 to 1024.
    pub fn with_size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// The share of patches with a lesion, rounded to a whole number of patches.
    pub fn with_lesion_fraction(mut self, fraction: f64) -> Self {
        self.lesion_fraction = fraction;
        self
    }

    /// How many patches show one patient; the last patient may have fewer.
    pub fn with_per_patient(mut self, per_patient: usize) -> Self {
        self.per_patient = per_patient;
        self
    }

    /// The seed of everything that is random.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Draws the patches, in parallel on rayon's threads.
    ///
    /// # Errors
    /// Fewer than two patches, a side outside 32..=1024, no patch per patient, or a lesion fraction
    /// that leaves a class without a patch.
    pub fn generate(&self) -> Result<Dataset, DataError> {
        let lesions = self.check()?;
        let scans = (0..self.count)
            .into_par_iter()
            .map(|number| self.draw(number, lesions))
            .collect();
        let notes = vec![format!(
            "Synthetic: {} patches of {} x {} pixels, {lesions} with a lesion, {} per patient, seed {}.",
            self.count, self.size, self.size, self.per_patient, self.seed
        )];
        Ok(Dataset {
            name: "phantoms".to_owned(),
            layout: None,
            scans,
            faults: Vec::new(),
            notes,
        })
    }

    /// The number of patches with a lesion.
    fn check(&self) -> Result<usize, DataError> {
        let &Self {
            count,
            size,
            lesion_fraction: fraction,
            per_patient,
            ..
        } = self;
        if count < 2 {
            return Err(DataError::PhantomCount { count });
        }
        if !SIZES.contains(&size) {
            return Err(DataError::PhantomSize {
                size,
                least: *SIZES.start(),
                most: *SIZES.end(),
            });
        }
        if per_patient == 0 {
            return Err(DataError::PhantomsPerPatient { per_patient });
        }
        let lesions = (fraction * count as f64).round();
        if lesions >= 1.0 && lesions <= (count - 1) as f64 {
            Ok(lesions as usize)
        } else {
            Err(DataError::PhantomLesionFraction { fraction, count })
        }
    }

    fn stream(&self, stream: u64) -> ChaCha8Rng {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(stream);
        random
    }

    fn draw(&self, number: usize, lesions: usize) -> Scan {
        let patient = number / self.per_patient;
        let style = Style::draw(&mut self.stream(FIRST_PATIENT_STREAM + patient as u64));
        let mut random = self.stream(number as u64);
        // Lesions are spread evenly over the patches, and so over the patients.
        let lesion = (number + 1) * lesions / self.count > number * lesions / self.count;

        let side = self.size;
        let mut image = style.tissue(side, &mut random);
        let mut mask = Array2::from_elem((side, side), false);
        if lesion {
            let shape = Blot::lesion(side, &mut random);
            mask = shape.mask();
            style.paint_lesion(&mut image, &shape, &mut random);
        }
        style.paint_distractors(&mut image, &mask, &mut random);
        style.expose(&mut image, &mut random);
        Scan {
            id: format!("patient {}/patch {}", patient + 1, number % self.per_patient + 1),
            group: format!("patient {}", patient + 1),
            lesion,
            image,
            mask,
            source: PathBuf::new(),
        }
    }
}

/// A standard normal number by Box and Muller's formula.
fn normal(random: &mut impl Rng) -> f32 {
    let radius = (-2.0 * (1.0 - random.random::<f32>()).ln()).sqrt();
    radius * (TAU * random.random::<f32>()).cos()
}

fn smoothstep(t: f32) -> f32 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Normal numbers on a square lattice, smoothly joined. It repeats after `SIDE` steps.
#[derive(Debug)]
struct Lattice(Vec<f32>);

impl Lattice {
    /// A power of two.
    const SIDE: i32 = 64;

    fn draw(random: &mut impl Rng) -> Self {
        Self((0..Self::SIDE * Self::SIDE).map(|_| normal(random)).collect())
    }

    /// The value at a point in lattice steps.
    fn at(&self, y: f32, x: f32) -> f32 {
        let wrap = |v: i32| (v & (Self::SIDE - 1)) as usize;
        let (y0, x0) = (y.floor(), x.floor());
        let (fy, fx) = (smoothstep(y - y0), smoothstep(x - x0));
        let (left, right) = (wrap(x0 as i32), wrap((x0 as i32).wrapping_add(1)));
        let row = |r: i32| {
            let start = wrap(r) * Self::SIDE as usize;
            let (a, b) = (self.0[start + left], self.0[start + right]);
            a + (b - a) * fx
        };
        let (top, bottom) = (row(y0 as i32), row((y0 as i32).wrapping_add(1)));
        top + (bottom - top) * fy
    }
}

/// Noise on several scales, each half as wide and weaker than the one before.
#[derive(Debug)]
struct Cloud {
    octaves: Vec<(Lattice, f32, f32)>,
}

impl Cloud {
    /// `widest` is in patches: 1 means that the coarsest lattice has one step per patch side.
    fn draw(widest: f32, octaves: usize, persistence: f32, random: &mut impl Rng) -> Self {
        let weights: Vec<f32> = (0..octaves).map(|o| persistence.powi(o as i32)).collect();
        let norm = weights.iter().map(|w| w * w).sum::<f32>().sqrt();
        let octaves = weights
            .iter()
            .enumerate()
            .map(|(o, w)| (Lattice::draw(random), 2f32.powi(o as i32) / widest, w / norm))
            .collect();
        Self { octaves }
    }

    /// About standard normal; `y` and `x` in patches.
    fn at(&self, y: f32, x: f32) -> f32 {
        self.octaves
            .iter()
            .map(|(lattice, frequency, weight)| weight * lattice.at(y * frequency, x * frequency))
            .sum()
    }
}

/// What the patches of one patient have in common.
#[derive(Debug)]
struct Style {
    /// The direction of layers and strands in radians.
    direction: f32,
    /// How much longer structures are along that direction than across it.
    stretch: f32,
    /// The widest structures, in patches.
    scale: f32,
    brightness: f32,
    contrast: f32,
    strands: f32,
    speckle: f32,
    gamma: f32,
}

impl Style {
    fn draw(random: &mut impl Rng) -> Self {
        Self {
            direction: random.random_range(-0.5..0.5),
            stretch: random.random_range(1.5..3.5),
            scale: random.random_range(0.22..0.4),
            brightness: random.random_range(0.4..0.54),
            contrast: random.random_range(0.06..0.11),
            strands: random.random_range(0.08..0.2),
            speckle: random.random_range(0.08..0.16),
            gamma: random.random_range(0.8..1.25),
        }
    }

    /// Layers, strands and a slow change of brightness.
    fn tissue(&self, side: usize, random: &mut impl Rng) -> Array2<f32> {
        let direction = self.direction + random.random_range(-0.3..0.3);
        let (sin, cos) = direction.sin_cos();
        let layers = Cloud::draw(self.scale, 5, 0.65, random);
        let ridges = Cloud::draw(self.scale * 0.7, 3, 0.5, random);
        let bend = Cloud::draw(0.6, 2, 0.5, random);
        let shade = Cloud::draw(0.9, 1, 1.0, random);
        let (slope_y, slope_x) = (random.random_range(-0.14..0.14), random.random_range(-0.1..0.1));
        Array2::from_shape_fn((side, side), |(row, column)| {
            let (y, x) = (row as f32 / side as f32, column as f32 / side as f32);
            let y_bent = y + 0.05 * bend.at(y + 7.3, x + 2.9);
            let along = (x * cos + y_bent * sin) / self.stretch;
            let across = y_bent * cos - x * sin;
            let ridge = (1.0 - ridges.at(across + 3.1, along + 5.7).abs() * 1.6).max(0.0);
            self.brightness
                + slope_y * (y - 0.5)
                + slope_x * (x - 0.5)
                + 0.05 * shade.at(y, x)
                + self.contrast * layers.at(across, along)
                + self.strands * ridge.powi(3)
        })
    }

    /// Blends the lesion's own texture in; layers and strands end at its rim.
    fn paint_lesion(&self, image: &mut Array2<f32>, shape: &Blot, random: &mut impl Rng) {
        let darker = random.random_bool(0.8);
        let change: f32 = random.random_range(0.16..0.3);
        let level = self.brightness + if darker { -change } else { change };
        let grain = Cloud::draw(random.random_range(0.06..0.12), 3, 0.7, random);
        let (amplitude, rim) = (random.random_range(0.03..0.07), random.random_range(0.012..0.04));
        let kept = random.random_range(0.05..0.25);
        let side = image.nrows();
        for (((row, column), value), &reach) in image.indexed_iter_mut().zip(&shape.reach) {
            let (y, x) = (centre_of(row, side), centre_of(column, side));
            let weight = 1.0 / (1.0 + ((reach - shape.radius) / (0.5 * rim)).exp());
            let inside = level + amplitude * grain.at(y, x) + kept * (*value - self.brightness);
            *value += weight * (inside - *value);
        }
    }

    /// Streaks and cysts, as many and as large whether there is a lesion or not.
    fn paint_distractors(&self, image: &mut Array2<f32>, mask: &Array2<bool>, random: &mut impl Rng) {
        let side = image.nrows() as f32;
        for _ in 0..random.random_range(1..=4) {
            let (y0, x0): (f32, f32) = (random.random(), random.random());
            let angle = self.direction + random.random_range(-0.9..0.9f32);
            let (length, width) = (random.random_range(0.12..0.4f32), random.random_range(0.005..0.012f32));
            let (curve, light) = (random.random_range(-1.5..1.5f32), random.random_range(0.12..0.28f32));
            let (sin, cos) = angle.sin_cos();
            for ((row, column), value) in image.indexed_iter_mut() {
                let (dy, dx) = ((row as f32 + 0.5) / side - y0, (column as f32 + 0.5) / side - x0);
                let (along, across) = (dx * cos + dy * sin, dy * cos - dx * sin);
                let across = across - curve * along * along;
                let end = 1.0 - smoothstep((along.abs() / length - 0.35) / 0.15);
                *value += light * end * (-0.5 * (across / width).powi(2)).exp();
            }
        }
        for _ in 0..random.random_range(0..=3) {
            let radius = random.random_range(0.018..0.042f32);
            // A cyst on the lesion would hide part of it; lesions leave at least three quarters free.
            let pixel = |v: f32| ((v * side) as usize).min(mask.nrows() - 1);
            let mut places = (0..20).map(|_| (random.random::<f32>(), random.random::<f32>()));
            let Some((y0, x0)) = places.find(|&(y, x)| !mask[[pixel(y), pixel(x)]]) else {
                continue;
            };
            for ((row, column), value) in image.indexed_iter_mut() {
                let (dy, dx) = ((row as f32 + 0.5) / side - y0, (column as f32 + 0.5) / side - x0);
                let beyond = (dy.hypot(dx) - radius) * side;
                let inside = 1.0 - smoothstep(beyond + 0.5);
                *value += inside * (0.13 - *value) + 0.14 * (-0.5 * ((beyond - 0.8) / 0.9).powi(2)).exp();
            }
        }
    }

    /// Speckle, gain and gamma; clips to 0..=1.
    fn expose(&self, image: &mut Array2<f32>, random: &mut impl Rng) {
        let side = image.nrows();
        let fine = Array2::from_shape_simple_fn((side, side), || normal(random));
        // Neighbours are mixed, more across than down: speckle is wider than it is high.
        let speckle = Array2::from_shape_fn((side, side), |(y, x)| {
            let row = |y: usize| {
                let at = |dx: usize| fine[[y % side, (x + dx) % side]];
                0.35 * at(0) + 0.6 * at(1) + 0.35 * at(2)
            };
            0.6 * row(y) + row(y + 1) + 0.6 * row(y + 2)
        });
        let gain = random.random_range(0.85..1.15f32);
        let gamma = self.gamma * random.random_range(0.9..1.1f32);
        Zip::from(image).and(&speckle).for_each(|value, &noise| {
            let lit = *value * (1.0 + self.speckle * noise) * gain;
            *value = lit.clamp(0.0, 1.0).powf(gamma);
        });
    }
}

/// A star-convex outline: `radius · (1 + Σ a_k cos(k θ + φ_k))` around a centre, in patches.
#[derive(Debug)]
struct Blot {
    radius: f32,
    /// For each pixel centre the radius at which the outline would pass through it.
    reach: Array2<f32>,
}

impl Blot {
    /// A random outline whose mask covers a random share of the patch, which the radius is chosen
    /// for, since part of the outline may lie outside.
    fn lesion(side: usize, random: &mut impl Rng) -> Self {
        let area = random.random_range(LESION_AREA);
        let margin = 0.7 * (area / PI).sqrt();
        let mut place = || random.random_range(margin..1.0 - margin);
        let (centre_y, centre_x): (f32, f32) = (place(), place());
        let irregular = random.random_range(0.1..0.25f32);
        let harmonics: Vec<(f32, f32, f32)> = (2..=8)
            .map(|k| {
                let amplitude = irregular * normal(random).clamp(-1.5, 1.5) * (2.0 / k as f32);
                (k as f32, amplitude, random.random_range(0.0..TAU))
            })
            .collect();
        let reach = Array2::from_shape_fn((side, side), |(row, column)| {
            let (dy, dx) = (centre_of(row, side) - centre_y, centre_of(column, side) - centre_x);
            let angle = dy.atan2(dx);
            let bumps: f32 = harmonics
                .iter()
                .map(|&(k, a, phase)| a * (k * angle + phase).cos())
                .sum();
            dy.hypot(dx) / (1.0 + bumps).max(0.25)
        });
        let mut reaches: Vec<f32> = reach.iter().copied().collect();
        let rank = (area * reaches.len() as f32) as usize;
        let (_, &mut radius, _) = reaches.select_nth_unstable_by(rank, f32::total_cmp);
        Self { radius, reach }
    }

    /// The pixels whose centres lie inside the outline.
    fn mask(&self) -> Array2<bool> {
        self.reach.mapv(|reach| reach < self.radius)
    }
}

/// The centre of a row or column, in patches.
fn centre_of(index: usize, side: usize) -> f32 {
    (index as f32 + 0.5) / side as f32
}

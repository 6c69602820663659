//! The images: read, split, and resized for the network.

use std::ops::Range;

use anyhow::Result;
use ndarray::{Array4, ArrayView4, s};
use scan_data::{BatchSpec, Dataset, Part, Phantoms, ReadOptions, Scan, Split, SplitCounts, batch};
use tch::Tensor;

use crate::options::Options;
use crate::progress;
use crate::summary;

/// Side of the phantoms, in pixels.
pub const PHANTOM_SIZE: usize = 128;
const PHANTOMS: usize = 240;

/// Shares of the images for training, validation and test.
const SHARES: [f64; 3] = [0.6, 0.2, 0.2];

/// The scans, in the order training, validation, test, and the same as the network's input.
pub struct Data {
    pub dataset: Dataset,
    pub counts: SplitCounts,
    /// Indices of the data set's scans, part after part.
    order: Vec<usize>,
    ranges: [Range<usize>; 3],
    /// All scans in that order: grey, `[N, 1, S, S]`, in 0..=1.
    pub images: Array4<f32>,
    /// 0 normal, 1 lesion.
    pub labels: Vec<i64>,
    /// Mean grey of the training images.
    pub mean: f32,
}

impl Data {
    pub fn read(options: &Options) -> Result<Self> {
        let dataset = match &options.data {
            None => Phantoms::default()
                .with_count(PHANTOMS)
                .with_size(PHANTOM_SIZE)
                .with_seed(options.seed)
                .generate()?,
            Some(folder) => {
                let read = ReadOptions::default()
                    .with_layout(options.layout)
                    .with_strict(options.strict);
                let bar = progress::bar("reading");
                Dataset::read_with(folder, &read, &|done, total| {
                    bar.set_length(total as u64);
                    bar.set_position(done as u64);
                })
                .inspect(|_| bar.finish_and_clear())?
            }
        };
        let split = Split::by_group(&dataset.scans, SHARES, options.seed)?;
        let order: Vec<usize> = Part::ALL.iter().flat_map(|&part| split.part(part).to_vec()).collect();
        let (train, validation) = (split.train.len(), split.validation.len());
        let size = options.image_size();
        let images = batch(&dataset.scans, &order, &BatchSpec::new(size, size, 1))?;
        let mean = images
            .slice(s![..train, .., .., ..])
            .mapv(f64::from)
            .mean()
            .unwrap_or_default() as f32;
        Ok(Self {
            counts: split.counts(&dataset.scans),
            ranges: [0..train, train..train + validation, train + validation..order.len()],
            labels: order.iter().map(|&i| i64::from(dataset.scans[i].lesion)).collect(),
            order,
            images,
            mean,
            dataset,
        })
    }

    /// Where a part lies among the scans.
    pub fn range(&self, part: Part) -> Range<usize> {
        self.ranges[part as usize].clone()
    }

    pub fn part_of(&self, index: usize) -> Part {
        Part::ALL
            .into_iter()
            .find(|&part| self.range(part).contains(&index))
            .unwrap_or(Part::Test)
    }

    pub fn scan(&self, index: usize) -> &Scan {
        &self.dataset.scans[self.order[index]]
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// The lesion images of a part.
    pub fn lesions(&self, part: Part) -> Vec<usize> {
        self.range(part).filter(|&index| self.labels[index] == 1).collect()
    }

    /// How many images, of all parts, are so, by class.
    pub fn by_class(&self, is_so: impl Fn(usize) -> bool) -> summary::ByClass {
        let count = |label| (0..self.len()).filter(|&i| self.labels[i] == label && is_so(i)).count();
        summary::ByClass {
            lesion: count(1),
            normal: count(0),
        }
    }

    /// The groups of some scans, for the bootstrap.
    pub fn groups(&self, indices: impl IntoIterator<Item = usize>) -> Vec<&str> {
        indices
            .into_iter()
            .map(|index| self.scan(index).group.as_str())
            .collect()
    }

    /// A part of images that are laid out like `images`.
    pub fn slice<'a>(&self, images: &'a Array4<f32>, part: Part) -> ArrayView4<'a, f32> {
        images.slice(s![self.range(part), .., .., ..])
    }

    pub fn summary(&self) -> summary::Data {
        let parts = self.counts.parts.map(|counts| summary::Part {
            part: counts.part.to_string(),
            lesion: counts.lesion,
            normal: counts.normal,
            groups: counts.groups,
        });
        // The errors name their files.
        let faults = self.dataset.faults.iter().map(|fault| describe(&fault.error));
        summary::Data {
            name: self.dataset.name.clone(),
            layout: self
                .dataset
                .layout
                .map_or("synthetic phantoms".to_owned(), |layout| layout.to_string()),
            phantoms: self.dataset.layout.is_none().then_some(summary::Phantoms {
                count: PHANTOMS,
                size: PHANTOM_SIZE,
            }),
            parts: parts.to_vec(),
            notes: self.dataset.notes.clone(),
            faults: faults.collect(),
        }
    }
}

/// Images as a tensor, on the CPU.
pub fn tensor(images: ArrayView4<'_, f32>) -> Result<Tensor> {
    let shape: Vec<i64> = images.shape().iter().map(|&length| length as i64).collect();
    let images = images.as_standard_layout();
    let values = images.as_slice().unwrap_or_default();
    Ok(Tensor::f_from_slice(values)?.f_view(shape.as_slice())?)
}

/// An error with its causes in one line.
fn describe(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", describe(source)),
        None => error.to_string(),
    }
}

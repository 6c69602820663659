//! This workspace's side of `segmentation.py`.
//!
//! `cargo xtask bench-peers segmentation`

mod answer;

use std::hint::black_box;

use anyhow::Result;
use heatmap_seg::{DenseCrf, Hysteresis, Image, LocalThreshold, RandomWalker, Seeds, Slic, Threshold, Watershed};
use ndarray::{Array2, Axis, s};

use crate::answer::{Cases, answer};

fn main() -> Result<()> {
    answer(cases, &[])
}

/// The same heatmap and image as in `segmentation.py`.
fn pair(side: usize) -> (Array2<f32>, Array2<f32>) {
    let from = |y: usize, x: usize, centre: [f64; 2]| {
        let way = |at: usize, axis: usize| (at as f64 / side as f64 - centre[axis]).powi(2);
        way(y, 0) + way(x, 1)
    };
    let heatmap = Array2::from_shape_fn((side, side), |(y, x)| (-18.0 * from(y, x, [0.45, 0.55])).exp() as f32);
    let image = Array2::from_shape_fn((side, side), |(y, x)| {
        let speckle = ((((y * 8191 + x * 131 + 7) * 2_654_435_761) >> 7) % 1009) as f64 / 1009.0;
        let tissue = if from(y, x, [0.5, 0.5]) < 0.05 { 0.55 } else { 0.3 };
        (tissue + 0.15 * (speckle - 0.5)) as f32
    });
    (heatmap, image)
}

fn cases() -> Result<Cases> {
    let mut cases = Cases::new();
    let (heatmap, _) = pair(512);
    for (name, rule) in [
        ("otsu", Threshold::Otsu),
        ("multi_otsu", Threshold::MultiOtsu { classes: 4 }),
        ("yen", Threshold::Yen),
        ("li", Threshold::Li),
        ("triangle", Threshold::Triangle),
    ] {
        let heatmap = heatmap.clone();
        add(&mut cases, name, move || {
            Ok(black_box(rule.apply(heatmap.view())?).len())
        });
    }
    let wide = heatmap.clone();
    add(&mut cases, "local", move || {
        Ok(black_box(LocalThreshold::default().apply(wide.view())?).len())
    });
    add(&mut cases, "hysteresis", move || {
        let rule = Hysteresis::new(Threshold::Fixed(0.3), Threshold::Fixed(0.6));
        Ok(black_box(rule.apply(heatmap.view())?).len())
    });

    let (heatmap, image) = pair(320);
    let seeds = Seeds::new(Threshold::Fixed(0.2), Threshold::Fixed(0.7));
    let walker = RandomWalker::default().with_seeds(seeds).with_tolerance(1e-3);
    let watershed = Watershed::default().with_seeds(seeds);
    let (h, i) = (heatmap.clone(), image.clone());
    add(&mut cases, "random_walker", move || {
        Ok(black_box(walker.apply(h.view(), i.view())?).len())
    });
    let (h, i) = (heatmap.clone(), image.clone());
    add(&mut cases, "watershed", move || {
        Ok(black_box(watershed.apply(h.view(), i.view())?).len())
    });
    let i = image.clone();
    add(&mut cases, "slic", move || {
        Ok(black_box(Slic::default().superpixels(i.view())?).len())
    });
    let (h, i) = (heatmap.clone(), image.clone());
    add(&mut cases, "dense_crf", move || {
        Ok(black_box(DenseCrf::default().apply(h.view(), i.view())?).len())
    });
    // The grey image, turned over and turned aside.
    let turned = [image.view(), image.slice(s![..;-1, ..]), image.t()];
    let colours = ndarray::stack(Axis(2), &turned)?;
    add(&mut cases, "dense_crf_rgb", move || {
        let image = Image::Channels(colours.view());
        Ok(black_box(DenseCrf::default().apply(heatmap.view(), image)?).len())
    });
    Ok(cases)
}

fn add(cases: &mut Cases, name: &str, run: impl Fn() -> Result<usize> + 'static) {
    cases.insert(name.to_owned(), Box::new(move || run().map(|_| ())));
}

//! `goldens/colour.json` holds heatmaps refined against images of several channels, by scikit-image, by pydensecrf and by
//! the formulas of the papers, and walks with a spacing.

use heatmap_seg::{
    DenseCrf, GuidedFilter, Image, Pipeline, RandomWalker, SegError, Segmentation, Slic, SuperpixelVoting, Watershed,
};
use ndarray::{Array2, Array3, ArrayD, Axis, array};
use serde::Deserialize;

use crate::golden::{cases, off, quotients};

#[derive(Deserialize)]
struct Golden {
    name: String,
    shape: Vec<usize>,
    heatmap: Vec<u16>,
    image: Vec<u8>,
    spacing: Vec<f64>,
    guided: Vec<f64>,
    walker: Vec<f64>,
    walker_spaced: Vec<f64>,
    walker_grey_spaced: Vec<f64>,
    watershed: String,
    slic: Vec<usize>,
    dense_crf: Vec<f64>,
    pydensecrf: Vec<f64>,
}

impl Golden {
    fn heatmap(&self) -> ArrayD<f32> {
        quotients(&self.heatmap, 65535.0, &self.shape[..self.shape.len() - 1])
    }

    fn image(&self) -> ArrayD<f32> {
        quotients(&self.image, 255.0, &self.shape)
    }
}

fn goldens() -> Vec<Golden> {
    let goldens = cases(include_str!("../goldens/colour.json"));
    assert_eq!(goldens.len(), 3);
    goldens
}

/// In f64 on both sides, and rounded to f32 and to seven digits.
#[test]
fn the_guided_filter_solves_for_all_channels() {
    for golden in goldens() {
        let (heatmap, image) = (golden.heatmap(), golden.image());
        let filter = GuidedFilter::default().with_radius(3);
        let guided = filter.apply(heatmap.view(), Image::Channels(image.view())).unwrap();
        let (_, most) = off(&guided, &golden.guided);
        assert!(most <= 2e-7, "{}: {most}", golden.name);
    }
}

/// Solved to 10⁻⁹ here, directly there.
#[test]
fn walks_go_by_all_channels_and_by_the_spacing() {
    for golden in goldens() {
        let (heatmap, image) = (golden.heatmap(), golden.image());
        let walker = RandomWalker::default().with_tolerance(1e-9);
        let spaced = walker.clone().with_spacing(&golden.spacing);
        let red = image.index_axis(Axis(image.ndim() - 1), 0);
        for (walker, image, expected) in [
            (&walker, Image::Channels(image.view()), &golden.walker),
            (&spaced, Image::Channels(image.view()), &golden.walker_spaced),
            (&spaced, Image::Grey(red), &golden.walker_grey_spaced),
        ] {
            let probabilities = walker.probabilities(heatmap.view(), image).unwrap();
            let (_, most) = off(&probabilities, expected);
            assert!(most <= 1e-6, "{}: {most}", golden.name);
        }
        let even = walker.clone().with_spacing(&vec![1.0; heatmap.ndim()]);
        assert_eq!(
            even.probabilities(heatmap.view(), Image::Channels(image.view())),
            walker.probabilities(heatmap.view(), Image::Channels(image.view()))
        );
    }
}

#[test]
fn the_watershed_floods_the_gradient_of_all_channels() {
    for golden in goldens() {
        let (heatmap, image) = (golden.heatmap(), golden.image());
        let mask = Watershed::default()
            .apply(heatmap.view(), Image::Channels(image.view()))
            .unwrap();
        let found: String = mask.iter().map(|&on| if on { '1' } else { '0' }).collect();
        assert_eq!(found, golden.watershed, "{}", golden.name);
    }
}

#[test]
fn superpixels_of_colours_are_those_of_scikit_image() {
    for golden in goldens() {
        let (heatmap, image) = (golden.heatmap(), golden.image());
        let slic = Slic::default().with_segments(30).with_compactness(0.2);
        let labels: ArrayD<usize> = slic.superpixels(Image::Channels(image.view())).unwrap();
        assert_eq!(labels.shape(), heatmap.shape());
        assert_eq!(labels.into_iter().collect::<Vec<_>>(), golden.slic, "{}", golden.name);
    }
}

/// The same lattice as pydensecrf's; the difference is that of f32. The lattice's own error grows with the features.
#[test]
fn the_dense_crf_is_that_of_pydensecrf() {
    let crf = DenseCrf::default()
        .with_gaussian(1.0, 0.0)
        .with_bilateral(6.0, 0.15, 4.0);
    for golden in goldens() {
        let (heatmap, image) = (golden.heatmap(), golden.image());
        let found = crf
            .probabilities(heatmap.view(), Image::Channels(image.view()))
            .unwrap();
        let (_, most) = off(&found, &golden.pydensecrf);
        assert!(most < 1e-4, "{}: {most}", golden.name);
        let (mean, _) = off(&found, &golden.dense_crf);
        assert!(mean < 0.03, "{}: {mean}", golden.name);
    }
}

/// One channel is a grey image, in any memory layout.
#[test]
fn one_channel_is_grey() {
    let golden = &goldens()[0];
    let heatmap = golden.heatmap().into_dimensionality::<ndarray::Ix2>().unwrap();
    let image = golden.image().into_dimensionality::<ndarray::Ix3>().unwrap();
    let grey: Array2<f32> = image.index_axis(Axis(2), 1).to_owned();
    let channel = grey.view().insert_axis(Axis(2));
    let first_channels: Array3<f32> = image.permuted_axes([2, 0, 1]).as_standard_layout().into_owned();
    let strided = first_channels.slice(ndarray::s![1..2, .., ..]).permuted_axes([1, 2, 0]);
    for segmentation in [
        Segmentation::RandomWalker(RandomWalker::default()),
        Segmentation::Watershed(Watershed::default()),
        Segmentation::SuperpixelVoting(SuperpixelVoting::default()),
        Segmentation::DenseCrf(DenseCrf::default()),
    ] {
        let pipeline = Pipeline::default()
            .with_guided_filter(GuidedFilter::default())
            .with_segmentation(segmentation);
        let expected = pipeline.apply(heatmap.view(), Some(grey.view().into())).unwrap();
        for channel in [channel, strided] {
            let found = pipeline.apply(heatmap.view(), Some(Image::Channels(channel))).unwrap();
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn faults_are_named() {
    let heatmap = array![[0.1_f32, 0.9]];
    let many = Array3::<f32>::zeros((1, 2, 5));
    let crf = DenseCrf::default();
    assert_eq!(
        crf.apply(heatmap.view(), Image::Channels(many.view())),
        Err(SegError::Channels { found: 5, most: 4 })
    );
    let none = Array3::<f32>::zeros((1, 2, 0));
    let turned = Array3::<f32>::zeros((2, 1, 3));
    let filter = GuidedFilter::default();
    assert_eq!(
        filter.apply(heatmap.view(), Image::Channels(none.view())),
        Err(SegError::Empty { shape: vec![1, 2, 0] })
    );
    assert_eq!(
        filter.apply(heatmap.view(), Image::Channels(turned.view())),
        Err(SegError::Shapes {
            left: vec![1, 2],
            right: vec![2, 1]
        })
    );
    let image = array![[0.1_f32, 0.9]];
    for spacing in [
        vec![1.0],
        vec![1.0; 3],
        vec![1.0, 0.0],
        vec![f64::NAN, 1.0],
        vec![1.0, f64::INFINITY],
    ] {
        let walked = RandomWalker::default()
            .with_spacing(&spacing)
            .apply(heatmap.view(), image.view());
        assert!(matches!(walked, Err(SegError::Spacing { axes: 2, .. })), "{spacing:?}");
    }
}

use scan_data::{DataError, Dataset, Phantoms};

fn drawn(phantoms: &Phantoms, threads: usize) -> Dataset {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| phantoms.generate().unwrap())
}

#[test]
fn phantoms_depend_on_the_seed_and_not_on_the_threads() {
    let phantoms = Phantoms::default()
        .with_count(12)
        .with_size(40)
        .with_per_patient(3)
        .with_seed(9);
    let data = drawn(&phantoms, 1);
    assert_eq!(data.scans, drawn(&phantoms, 4).scans);
    assert_ne!(data.scans, drawn(&phantoms.clone().with_seed(10), 1).scans);
    // A longer series of the same share begins in the same way.
    assert_eq!(data.scans, drawn(&phantoms.with_count(24), 2).scans[..12]);
}

#[test]
fn phantoms_are_what_they_say() {
    let data = Phantoms::default()
        .with_count(90)
        .with_size(64)
        .with_lesion_fraction(0.3)
        .generate()
        .unwrap();
    assert_eq!(data.class_counts(), (27, 63));
    assert_eq!(
        (data.name.as_str(), data.layout, data.faults.len(), data.notes.len()),
        ("phantoms", None, 0, 1)
    );
    let groups: std::collections::BTreeSet<_> = data.scans.iter().map(|s| &s.group).collect();
    let ids: std::collections::BTreeSet<_> = data.scans.iter().map(|s| &s.id).collect();
    assert_eq!((groups.len(), ids.len()), (12, 90));
    for scan in &data.scans {
        assert_eq!((scan.image.dim(), scan.mask.dim()), ((64, 64), (64, 64)));
        assert!(scan.image.iter().all(|v| (0.0..=1.0).contains(v)));
        let area = scan.mask.iter().filter(|&&m| m).count() as f64 / 4096.0;
        assert!(
            if scan.lesion {
                (0.04..=0.25).contains(&area)
            } else {
                area == 0.0
            },
            "{}: {area}",
            scan.id
        );
        // Neither flat nor washed out.
        assert!(scan.image.std(0.0) > 0.04, "{}", scan.id);
        let clipped = scan.image.iter().filter(|&&v| v == 0.0 || v == 1.0).count();
        assert!(clipped < 4096 / 5, "{}: {clipped} clipped", scan.id);
    }
}

#[test]
fn brightness_alone_does_not_tell_the_classes_apart() {
    let data = Phantoms::default().with_count(240).with_size(48).generate().unwrap();
    let mut means: Vec<_> = data.scans.iter().map(|s| (s.image.mean().unwrap(), s.lesion)).collect();
    means.sort_by(|a, b| a.0.total_cmp(&b.0));
    // The best threshold on the mean grey value, darker being lesion.
    let (mut right, mut best) = (120, 120);
    for (_, lesion) in means {
        right = if lesion { right + 1 } else { right - 1 };
        best = best.max(right);
    }
    assert!(best < 168, "{best} of 240 by brightness");
}

#[test]
fn bad_settings_are_errors() {
    let phantoms = Phantoms::default();
    let error = |p: Phantoms| p.generate().unwrap_err();
    assert!(matches!(
        error(phantoms.clone().with_count(1)),
        DataError::PhantomCount { count: 1 }
    ));
    assert!(matches!(
        error(phantoms.clone().with_size(31)),
        DataError::PhantomSize { size: 31, .. }
    ));
    assert!(matches!(
        error(phantoms.clone().with_size(1025)),
        DataError::PhantomSize { .. }
    ));
    assert!(matches!(
        error(phantoms.clone().with_per_patient(0)),
        DataError::PhantomsPerPatient { .. }
    ));
    for fraction in [0.0, 1.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = error(phantoms.clone().with_lesion_fraction(fraction));
        assert!(matches!(error, DataError::PhantomLesionFraction { .. }), "{fraction}");
    }
}

use std::collections::BTreeMap;
use std::rc::Rc;

use tch::{Kind, Tensor};

use super::fault::StateDictFault;
use super::pickle::{Pickle, Storage, Value, View};

/// The tensors that a pickle names, as views of storages whose numbers are still to be read.
pub(super) fn views(pickle: &Pickle, entry: Option<&str>) -> Result<BTreeMap<String, Rc<View>>, StateDictFault> {
    let mut root = pickle.root();
    let mut at = "the file's content".to_owned();
    if let Some(entry) = entry {
        let entries = by_name(pickle, root, &at)?;
        root = match entries.get(entry) {
            Some(&value) => value,
            None => {
                return Err(StateDictFault::NoSuchEntry {
                    entry: entry.to_owned(),
                    entries: entries.into_keys().collect(),
                });
            }
        };
        at = format!("the entry `{entry}`");
    }
    by_name(pickle, root, &at)?
        .into_iter()
        .map(|(key, value)| match value {
            Value::Tensor(view) => Ok((key, Rc::clone(view))),
            other => Err(StateDictFault::NotATensor {
                key,
                found: other.describe(),
            }),
        })
        .collect()
}

/// The entries of a dictionary whose keys are names.
fn by_name<'a>(pickle: &'a Pickle, value: &Value, at: &str) -> Result<BTreeMap<String, &'a Value>, StateDictFault> {
    let Value::Dict(entries) = value else {
        return Err(StateDictFault::NotADictionary {
            at: at.to_owned(),
            found: value.describe(),
        });
    };
    entries
        .iter()
        .map(|&(key, value)| match pickle.value(key) {
            Value::Text(key) => Ok((key.to_string(), pickle.value(value))),
            other => Err(StateDictFault::Key {
                found: other.describe(),
            }),
        })
        .collect()
}

impl Storage {
    /// How many bytes the pickle says the storage has.
    pub(super) fn bytes(&self) -> u64 {
        self.numel.saturating_mul(self.kind.elt_size_in_bytes() as u64)
    }

    /// A tensor of all its numbers, from their bytes.
    pub(super) fn tensor(&self, bytes: &[u8]) -> Result<Tensor, StateDictFault> {
        if bytes.len() as u64 != self.bytes() {
            return Err(StateDictFault::StorageSize {
                storage: self.key.to_string(),
                found: bytes.len() as u64,
                expected: self.bytes(),
            });
        }
        // A truth value is a byte of 0 or 1 to libtorch, whatever the file has.
        let kind = match self.kind {
            Kind::Bool => Kind::Uint8,
            kind => kind,
        };
        let numbers = Tensor::f_from_data_size(bytes, &[self.numel as i64], kind)?;
        Ok(match self.kind {
            Kind::Bool => numbers.f_ne(0)?,
            _ => numbers,
        })
    }
}

/// Each view of its storage. No number is copied.
pub(super) fn tensors(
    views: BTreeMap<String, Rc<View>>,
    storages: &BTreeMap<Rc<str>, Tensor>,
) -> Result<BTreeMap<String, Tensor>, StateDictFault> {
    views
        .into_iter()
        .map(|(key, view)| {
            let storage = &storages[&view.storage.key];
            let tensor = match view.fits(storage.numel() as u64) {
                true => storage.f_as_strided(&view.shape, &view.strides, view.offset)?,
                false => {
                    return Err(StateDictFault::OutOfStorage {
                        key,
                        shape: view.shape.clone(),
                        strides: view.strides.clone(),
                        offset: view.offset,
                        numel: storage.numel() as u64,
                    });
                }
            };
            Ok((key, tensor))
        })
        .collect()
}

impl View {
    /// Whether the view lies within a storage of so many numbers, and has a count of its own that
    /// a 64-bit integer can hold.
    fn fits(&self, numel: u64) -> bool {
        let Some(last) = self.last() else { return false };
        let empty = self.shape.contains(&0);
        let reach = if empty { self.offset.checked_sub(1) } else { Some(last) };
        reach.is_some_and(|reach| reach < 0 || (reach as u64) < numel)
    }

    /// The place of the last number, if nothing is negative and nothing overflows.
    fn last(&self) -> Option<i64> {
        if self.offset < 0 || self.shape.len() != self.strides.len() {
            return None;
        }
        let mut count = 1_i64;
        let mut last = self.offset;
        for (&size, &stride) in self.shape.iter().zip(&self.strides) {
            if size < 0 || stride < 0 {
                return None;
            }
            count = count.checked_mul(size)?;
            last = last.checked_add((size - 1).max(0).checked_mul(stride)?)?;
        }
        Some(last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn view(offset: i64, shape: &[i64], strides: &[i64]) -> View {
        View {
            storage: Rc::new(Storage {
                key: "0".into(),
                kind: Kind::Float,
                numel: 0,
            }),
            offset,
            shape: shape.to_vec(),
            strides: strides.to_vec(),
        }
    }

    #[test]
    fn views_at_the_edges() {
        for (offset, shape, strides, numel, fits) in [
            (0, vec![2, 3], vec![3, 1], 6, true),
            (1, vec![2, 3], vec![3, 1], 6, false),
            (1, vec![2, 3], vec![3, 1], 7, true),
            (0, vec![2, 3], vec![1, 2], 6, true),
            (0, vec![1 << 40], vec![0], 1, true),
            (0, vec![1 << 40, 1 << 40], vec![0, 0], 1, false),
            (0, vec![2, i64::MAX], vec![i64::MAX, 1], 6, false),
            (0, vec![], vec![], 0, false),
            (0, vec![], vec![], 1, true),
            (0, vec![0, 5], vec![5, 1], 0, true),
            (7, vec![0], vec![1], 6, false),
            (-1, vec![1], vec![1], 6, false),
            (0, vec![-1], vec![1], 6, false),
            (0, vec![2], vec![-1], 6, false),
            (0, vec![2], vec![1, 1], 6, false),
            (i64::MAX, vec![2], vec![1], 6, false),
        ] {
            assert_eq!(
                view(offset, &shape, &strides).fits(numel),
                fits,
                "{offset} {shape:?} {strides:?} {numel}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: prop::test_runner::RngSeed::Fixed(1), ..ProptestConfig::default() })]

        /// The rule against a plain count of every place.
        #[test]
        fn a_view_fits_when_each_of_its_numbers_does(
            offset in 0_i64..5,
            axes in prop::collection::vec((1_i64..4, 0_i64..5), 0..4),
            numel in 0_u64..40,
        ) {
            let (shape, strides): (Vec<i64>, Vec<i64>) = axes.iter().copied().unzip();
            let places = axes.iter().fold(vec![offset], |places, &(size, stride)| {
                places.iter().flat_map(|place| (0..size).map(move |index| place + index * stride)).collect()
            });
            let all_inside = places.iter().all(|&place| (place as u64) < numel);
            prop_assert_eq!(view(offset, &shape, &strides).fits(numel), all_inside);
        }
    }
}
